//! A site of several nodes, of which one leads.

use route_proto::attach::v1::AttachWelcome;
use tonic::Status;

use crate::harness::Harness;

/// A leader whose term is not the newest finds that out by the hello of any gateway that knows a newer one.
#[tokio::test]
async fn a_hello_names_the_newest_term_that_has_welcomed_the_gateway() {
    let mut gateway = Harness::start(&[]).await;
    let mut told = Vec::new();
    for (epoch, term) in [(1, 7), (2, 5), (3, 0), (4, 8), (5, 0)] {
        let (node, hello) = gateway.attaching().await;
        told.push(hello.term);
        node.welcome_by(welcome(epoch, term)).await;
        node.refuse(Status::unavailable("gone")).await;
    }

    assert_eq!(told, [0, 7, 7, 7, 8]);
}

fn welcome(epoch: u64, term: u64) -> AttachWelcome {
    AttachWelcome {
        epoch,
        term,
        ..AttachWelcome::default()
    }
}
