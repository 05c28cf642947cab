use tokio::time::timeout;

use super::*;

const MIB: usize = 1 << 20;

fn has_room(budget: &Arc<Budget>, bytes: usize) -> bool {
    budget.ask(None, bytes).is_granted()
}

#[test]
fn what_waits_leaves_that_much_less_for_what_comes() {
    let budget = Budget::new(Some(100 * MIB));
    let mut part = budget.part();
    assert!(has_room(&budget, 80 * MIB) && !budget.is_tight());

    part.set(79 * MIB);
    let _one = budget.ask(None, MIB / 2);
    budget.look(budget.passed());
    assert!(!has_room(&budget, MIB));
    part.set(80 * MIB);
    assert!(budget.is_tight());
    drop(part);
    assert!(has_room(&budget, MIB) && !budget.is_tight());
}

#[tokio::test(start_paused = true)]
async fn a_look_is_due_where_it_makes_room_or_after_a_while() {
    let budget = Budget::new(Some(100 * MIB));
    let begin = Instant::now();
    budget.look_is_due().await;
    assert!(begin.elapsed() >= LOOK);

    assert!(has_room(&budget, 70 * MIB) && !has_room(&budget, 30 * MIB));
    budget.look(0);
    let begin = Instant::now();
    budget.look_is_due().await;
    assert!((PAUSE..LOOK).contains(&begin.elapsed()));
    budget.look(budget.passed());
    assert!(has_room(&budget, 30 * MIB));
}

/// A gateway and the node in it share one.
#[tokio::test(start_paused = true)]
async fn looks_of_another_one_do_not_put_it_off() {
    let budget = Budget::new(Some(100 * MIB));
    let half = LOOK / 2 + Duration::from_millis(1);
    assert!(timeout(half, budget.look_is_due()).await.is_err());
    budget.look(0);
    assert!(timeout(half, budget.look_is_due()).await.is_ok());
}

#[test]
fn one_thing_at_a_time_comes_in_above_the_first_mark() {
    let budget = Budget::new(Some(100 * MIB));
    let mut part = budget.part();
    part.set(85 * MIB);
    let one = budget.ask(None, 9 * MIB);
    assert!(one.is_granted() && !has_room(&budget, MIB));
    drop(one);
    assert!(!has_room(&budget, 11 * MIB), "the second mark");
}

#[tokio::test(start_paused = true)]
async fn what_is_too_much_is_known_until_it_is_gone() {
    let budget = Budget::new(Some(100 * MIB));
    let mut part = budget.part();
    part.set(94 * MIB);
    assert_eq!(budget.excess(), 0);
    part.set(97 * MIB);
    assert_eq!(budget.excess(), 2 * MIB + 1);
    budget.goes(3 * MIB);
    assert_eq!(budget.excess(), 0);
    part.set(99 * MIB);
    assert_eq!(budget.excess(), MIB + 1);

    tokio::time::advance(GONE_AFTER).await;
    budget.look(0);
    assert_eq!(budget.excess(), 4 * MIB + 1);
}

#[test]
fn what_comes_in_gives_back_as_much_as_it_takes() {
    let budget = Budget::new(Some(100 * MIB));
    let inputs: Vec<_> = (0..8).map(|_| budget.ask(None, 10 * MIB)).collect();
    let mut part = budget.part();
    part.set(30 * MIB);
    assert_eq!(budget.fullest_input(), 80 * MIB);
    budget.cut(budget.excess());

    let cx = Context::from_waker(Waker::noop());
    let cut: Vec<_> = inputs
        .iter()
        .map(|it| it.poll_cut(&cx).is_ready())
        .collect();
    assert_eq!(cut, [true, true, false, false, false, false, false, false]);
    assert_eq!(budget.excess(), 0);
}

#[test]
fn flags_that_do_not_fit_the_memory_are_told() {
    let needs = Needs {
        waits: 400 << 20,
        tables: 200 << 20,
    };
    let misfits = |limit: Option<u64>, container: Option<u64>| {
        let bytes = |mib| mib << 20;
        needs.misfits(limit.map(bytes), container.map(bytes)).len()
    };

    assert_eq!(misfits(None, None), 0);
    assert_eq!(misfits(Some(400), None), 0);
    assert_eq!(misfits(Some(399), None), 1);
    assert_eq!(misfits(Some(400), Some(700)), 0);
    assert_eq!(misfits(Some(401), Some(700)), 1);
    assert_eq!(misfits(Some(200), Some(256)), 2);
}

#[test]
fn without_a_limit_there_is_room() {
    let budget = Budget::new(None);
    let mut part = budget.part();
    part.set(1 << 40);
    assert!(has_room(&budget, 1 << 40) && !budget.is_tight() && !budget.is_limited());
    assert_eq!(budget.excess(), 0);
}
