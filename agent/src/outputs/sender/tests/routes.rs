//! Routes that lead to several servers, of which one hangs.

use super::*;

/// The database `a` is on a server that gives no answer for a minute, and all others are on one that does.
struct Hanging(Shared);

const HANGS: Duration = Duration::from_secs(60);

#[async_trait::async_trait]
impl Output for Hanging {
    fn place(&self) -> String {
        self.0.place()
    }

    fn encoding(&self) -> Encoding {
        self.0.encoding()
    }

    fn max_in_flight(&self) -> usize {
        6
    }

    fn max_in_flight_of_route(&self) -> usize {
        2
    }

    async fn write(&self, route: &[Option<String>], lines: &[Bytes]) -> Answer {
        if route[0].as_deref() == Some("a") {
            tokio::time::sleep(HANGS).await;
            return Answer::Retry { reason: "no answer".into(), after: None, route_only: true };
        }
        self.0.write(route, lines).await
    }
}

/// The lines of a gather have one time, so that no two batches of a route are written side by side.
#[tokio::test(start_paused = true)]
async fn a_server_that_hangs_holds_no_other_up() {
    let server = Shared::default();
    let common = OutputCommon {
        metric_batch_size: 10,
        metric_buffer_limit: 10_000,
        flush_interval: Duration::from_secs(10),
        ..OutputCommon::default()
    };
    let counts = Arc::new(OutputCounts::default());
    let sender = Sender::new(Box::new(Hanging(server.clone())), common, Arc::clone(&counts));
    let (send, receive) = mpsc::channel(4);
    let feeds = async {
        for gather in 0..20 {
            let point = |i: i64| {
                let point = Point::new("m", Timestamp(gather)).tag("db", ["a", "b", "c"][i as usize % 3]);
                point.field("f", 300 * gather + i)
            };
            let points: Vec<Point> = (0..300).map(point).collect();
            send.send(Message::Points(Arc::new(points))).await.unwrap();
            tokio::time::sleep(Duration::from_secs(10)).await;
            // What fills no batch waits for the next flush, as ever.
            let expected = 200 * gather as usize;
            server.with(|server| assert!(server.stored.len() >= expected, "the others are late"));
        }
        drop(send);
    };
    let (left, ()) = tokio::join!(sender.run(receive), feeds);
    assert_eq!((left, value(&counts.written)), (2_000, 4_000), "what it did not take waits");
    server.with(|server| assert!(server.stored.values().all(|n| *n == 1), "nothing is sent again"));
}
