//! What the write APIs of InfluxDB 2 and 3 have in common: one of several servers takes the lines, within a rate limit.

use bytes::Bytes;
use reqwest::header::USER_AGENT;

use super::Answer;
use super::answer::{Api, Meaning};
use super::rate_limit::RateLimit;
use super::servers::{self, Reach, Server, Servers};
use super::shards::Shards;
use super::trial::{self, Taking};
use crate::options::OptionError;

/// A client of one or more servers that hold the same data, or share it.
pub(super) struct WriteClient {
    servers: Servers<Server>,
    rate_limit: RateLimit,
    is_gzip: bool,
}

/// How lines are written.
pub(super) struct WriteRequest<'a> {
    pub(super) api: Api,
    pub(super) endpoint: &'a str,
    pub(super) query: &'a [(&'a str, &'a str)],
    /// The options that say where to, for when that is not there.
    pub(super) place: &'a str,
}

impl WriteClient {
    /// No server is contacted.
    ///
    /// # Errors
    /// A URL that is invalid or of another protocol, or another option that cannot be used.
    pub(super) fn new(
        mut reach: Reach<'_>,
        urls: &[String],
        shard_by: &str,
        rate_limit: RateLimit,
    ) -> Result<Self, OptionError> {
        // Unlike in v1, a header overrides the option.
        if reach.http_headers.keys().any(|name| name.eq_ignore_ascii_case(USER_AGENT.as_str())) {
            reach.user_agent = "";
        }
        let servers = reach.servers(urls)?;
        let shards = Shards::new(shard_by, servers.iter().map(|server| server.shown().to_owned()))?;
        Ok(Self { servers: Servers::new(servers, shards), rate_limit, is_gzip: reach.is_gzip })
    }

    /// How the servers share lines, where they do.
    pub(super) fn shards(&self) -> Option<&Shards> {
        self.servers.shards()
    }

    /// How many writes there are at one time, where one server takes so many.
    pub(super) fn max_in_flight(&self, of_one: usize) -> usize {
        self.servers.max_in_flight(of_one)
    }

    /// The servers' URLs without secrets.
    pub(super) fn place(&self) -> String {
        self.servers.iter().map(Server::shown).collect::<Vec<_>>().join(", ")
    }

    /// Has a server of the route take the lines.
    pub(super) async fn write(
        &self,
        request: WriteRequest<'_>,
        route: &[Option<String>],
        lines: &[Bytes],
    ) -> Answer {
        let WriteRequest { api, endpoint, query, place } = request;
        if let Err(answer) = self.rate_limit.admit(lines).await {
            return answer;
        }
        let body = servers::body(lines, self.is_gzip);
        let mut round = self.servers.round(route);
        while let Some(server) = round.next() {
            let url = server.shown();
            let reply = server.write(endpoint, query, &body).await;
            let answer = match reply.map(|reply| reply.meaning(api, lines)) {
                Ok(Meaning::Answer(answer)) => answer.at(url),
                Ok(Meaning::Missing(reason)) => Answer::Retry {
                    reason: format!("{url}: {reason}; create it there, or check {place}"),
                    after: None,
                    route_only: true,
                },
                Err(error) => Answer::retry(format!("{url}: {error}")),
            };
            if let Some(answer) = round.settle(answer) {
                return answer;
            }
        }
        round.failed()
    }

    /// What each server reports about itself, or why it cannot be reached or would not take lines.
    pub(super) async fn check(&self, request: WriteRequest<'_>) -> Vec<(String, Result<String, String>)> {
        let WriteRequest { api, endpoint, query, place } = request;
        let mut answers = Vec::new();
        for server in self.servers.iter() {
            let answer = match trial::of(server, api, endpoint, query).await {
                Ok(Taking { about, missing: None }) => Ok(format!("{about}, takes points")),
                Ok(Taking { about, missing: Some(reason) }) => {
                    let reason = format!("{reason}; create it there, or check {place}");
                    Err(trial::refused(&about, &reason))
                }
                Err(reason) => Err(reason),
            };
            answers.push((server.shown().to_owned(), answer));
        }
        answers
    }
}
