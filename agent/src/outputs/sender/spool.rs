//! The part of a sender that looks after its spool.

use super::Sender;
use crate::outputs::spooler::{Event, Opener, Spooler};
use crate::spool::log::Log;

impl Sender {
    /// Keeps points in a spool until they are written, and goes on with those of earlier runs.
    pub fn with_spool(mut self, log: Log) -> Self {
        self.buffer.add_spool(log.pending());
        self.spooler = Some(Spooler::new(log));
        self.publish();
        self
    }

    /// The same where the spool could not be opened because its disk is full, or fails: memory takes its place until it can.
    pub fn with_unopened_spool(mut self, opener: Opener, error: &anyhow::Error) -> Self {
        self.buffer.add_spool(0..0);
        self.buffer.disk_hangs();
        self.spooler = Some(Spooler::unopened(opener));
        self.disk_fails(format!("{error:#}"));
        self
    }

    /// Begins what is due on the disk.
    pub(super) fn spool(&mut self) {
        if let Some(spooler) = &mut self.spooler
            && spooler.is_idle()
            && !spooler.begin_opening()
            && let Some(job) = self.buffer.job()
        {
            spooler.begin(job);
        }
    }

    /// Waits until all is on the disk, unless the disk fails or hangs.
    pub(super) async fn keep(&mut self) {
        loop {
            self.spool();
            let Some(spooler) = self.spooler.as_mut().filter(|spooler| spooler.is_busy()) else { return };
            let event = spooler.event().await;
            let hangs = matches!(event, Event::Hangs);
            self.spooled(event);
            if hangs {
                return;
            }
        }
    }

    pub(super) fn spooled(&mut self, event: Event) {
        let outcome = match event {
            Event::Retry => return,
            Event::Opened(pending) => {
                self.buffer.open_spool(pending);
                return self.publish();
            }
            Event::Closed(error) => return self.disk_fails(format!("{error:#}")),
            Event::Hangs => {
                self.buffer.disk_hangs();
                return self.disk_fails("it gives no answer".into());
            }
            Event::Done(outcome) => outcome,
        };
        match outcome.error() {
            Some(error) => {
                let why = error.to_string();
                self.disk_fails(why);
            }
            None => {
                if self.disk_failed.take().is_some() {
                    tracing::info!("the disk takes points again");
                }
            }
        }
        let lost = self.buffer.apply(outcome);
        let counts = &self.counts;
        counts.add(&counts.losses.damaged, lost.damaged);
        counts.add(&counts.losses.overflowed, lost.overflowed);
        counts.add(&counts.losses.expired, lost.expired);
        if lost.damaged > 0 {
            tracing::error!(dropped = lost.damaged, "the spool is damaged, or a part of it is missing");
        }
        if lost.overflowed > 0 {
            tracing::error!(
                dropped = lost.overflowed,
                "the spool is full: the oldest points were dropped; raise buffer_disk_limit to keep more"
            );
        }
        if lost.expired > 0 {
            tracing::error!(
                dropped = lost.expired,
                "points in the spool were older than buffer_disk_max_age"
            );
        }
        self.publish();
        self.report_dropped();
    }

    /// Says once why points are not kept on the disk.
    fn disk_fails(&mut self, why: String) {
        if self.disk_failed.as_ref() != Some(&why) {
            let limit = self.common.metric_buffer_limit;
            tracing::error!(
                why,
                limit,
                "cannot keep points on the disk: they are kept in memory, and it is tried again"
            );
            self.disk_failed = Some(why);
        }
    }
}
