//! What gateways say of their links when somebody asks the node.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use route_core::LinkId;
use route_proto::admin::v1alpha1::{GetLinkRequest, ListLinksRequest};
use route_proto::attach::v1::{LinkFigures, LookAtLinks, LookedAt, Uplink};

use crate::checks::assert_names;
use crate::played::{Played, chat};
use crate::site::{Site, soon};

fn row(link: u64) -> LinkFigures {
    LinkFigures {
        link,
        queued_bytes: 10 * link,
        stalled_micros: 1_500_000,
        unconfirmed_bytes: 3,
        received_pdus: 4,
        received_bytes: 400,
        sent_pdus: 5,
        sent_bytes: 500,
        idle_micros: 2_000_000,
        paused: true,
    }
}

fn answer(number: u64, rows: Vec<LinkFigures>) -> Uplink {
    Uplink {
        looked_at: vec![LookedAt { number, rows }],
        ..Uplink::default()
    }
}

/// The question that a gateway gets next.
async fn asked(gateway: &mut Played) -> LookAtLinks {
    gateway.until(|it| !it.looks.is_empty()).await;
    gateway.looks.remove(0)
}

#[tokio::test]
async fn each_gateway_is_asked_about_its_own_links() {
    let site = Site::start().await;
    let [mut a, mut b] = Played::two(&site).await;
    let (of_a, of_b) = (LinkId::new(a.incarnation, 1), LinkId::new(b.incarnation, 1));

    let asking = [of_a, of_b, of_a];
    let (figures, ()) = tokio::join!(site.node.figures(&asking), async {
        let question = asked(&mut a).await;
        assert_eq!(question.links, [1]);
        // What was not asked is not told.
        a.send(answer(question.number, vec![row(1), row(2)])).await;
        let question = asked(&mut b).await;
        b.send(answer(question.number, vec![])).await;
    });

    assert_eq!(figures.len(), 1, "b has that link no more: {figures:?}");
    let of_a = figures[&of_a];
    assert_eq!((of_a.queued_bytes, of_a.unconfirmed_bytes), (10, 3));
    assert_eq!(of_a.stalled, Duration::from_millis(1500));
    assert_eq!((of_a.received_pdus, of_a.received_bytes), (4, 400));
    assert_eq!((of_a.sent_pdus, of_a.sent_bytes), (5, 500));
    assert_eq!((of_a.idle, of_a.paused), (Duration::from_secs(2), true));
}

#[tokio::test]
async fn operators_see_the_figures_if_they_ask_for_them() {
    let site = Site::start().await;
    let [mut a, _b] = Played::two(&site).await;
    let link = format!("{:x}-1", a.incarnation);
    let mut admin = site.admin().await;
    let list = ListLinksRequest {
        include_figures: true,
        ..ListLinksRequest::default()
    };
    let get = GetLinkRequest {
        link: link.clone(),
        include_figures: true,
    };

    let (listed, got) = tokio::join!(
        async {
            let listed = admin.list_links(list).await.unwrap().into_inner();
            let got = admin.get_link(get).await.unwrap().into_inner();
            (listed.links, got.link.unwrap())
        },
        async {
            for _ in 0..2 {
                let question = asked(&mut a).await;
                a.send(answer(question.number, vec![row(1)])).await;
            }
        }
    )
    .0;

    // The other gateway does not answer.
    assert_eq!((&listed[0].link, &listed[1].figures), (&link, &None));
    assert_eq!(listed[0].figures, got.figures);
    let figures = got.figures.unwrap();
    assert_eq!((figures.queued_bytes, figures.is_paused), (10, true));
    assert_eq!(figures.stalled_duration.unwrap().nanos, 500_000_000);
    assert_eq!(figures.idle_duration.unwrap().seconds, 2);
    let plain = admin.list_links(ListLinksRequest::default()).await;
    let plain = plain.unwrap().into_inner();
    assert!(plain.links.iter().all(|link| link.figures.is_none()));
    assert!(a.looks.is_empty());
}

#[tokio::test]
async fn who_does_not_answer_or_is_away_is_left_out() {
    let site = Site::start().await;
    let [mut a, b] = Played::two(&site).await;
    let links = [
        LinkId::new(a.incarnation, 1),
        LinkId::new(b.incarnation, 1),
        LinkId::new(7, 1),
    ];
    drop(b);

    let begin = Instant::now();
    let figures = soon("figures", site.node.figures(&links)).await;

    assert!(figures.is_empty(), "{figures:?}");
    // The bound, and some time for a busy machine.
    assert!(begin.elapsed() < Duration::from_secs(3));
    let late = asked(&mut a).await;
    a.send(answer(late.number, vec![row(1)])).await;
    a.route(1, chat(1, 1, b"x")).await;
    a.confirmed(1).await;
}

#[tokio::test]
async fn a_gateway_has_a_bounded_number_of_questions() {
    let site = Site::start().await;
    let mut a = Played::attach(&site, "a").await;
    a.open_with(1, &[1]).await;
    let links = [LinkId::new(a.incarnation, 1)];

    let asking = (0..20).map(|_| site.node.figures(&links));
    let all = join_all(asking);
    let (answers, ()) = tokio::join!(all, async {
        for _ in 0..20 {
            let question = asked(&mut a).await;
            a.send(answer(question.number, vec![row(1)])).await;
        }
    });

    assert!(answers.iter().all(|figures| figures.len() == 1));
}

#[tokio::test]
async fn an_answer_that_cannot_be_ends_the_stream_by_field() {
    let site = Site::start().await;
    let large = |number| LinkFigures {
        sent_bytes: 1 << 63,
        ..row(number)
    };
    let wrong = [
        (answer(0, vec![]), "number"),
        (answer(2, vec![]), "number"),
        (answer(1, vec![row(1); 1001]), "rows"),
        (answer(1, vec![row(0)]), "rows.link"),
        (answer(1, vec![large(1)]), "rows.sent_bytes"),
    ];
    for (number, (uplink, field)) in wrong.into_iter().enumerate() {
        let mut a = Played::attach(&site, &format!("a{number}")).await;
        a.open_with(1, &[1]).await;
        let links = [LinkId::new(a.incarnation, 1)];
        let (_, ended) = tokio::join!(site.node.figures(&links), async {
            let asked = asked(&mut a).await;
            let uplink = Uplink {
                looked_at: uplink
                    .looked_at
                    .into_iter()
                    .map(|it| LookedAt {
                        // Counted from the question.
                        number: match it.number {
                            0 => 0,
                            after => asked.number + after - 1,
                        },
                        ..it
                    })
                    .collect(),
                ..uplink
            };
            a.send(uplink).await;
            a.end().await.unwrap()
        });
        assert_names(&ended, &format!("uplink.looked_at.{field}"));
    }
}
