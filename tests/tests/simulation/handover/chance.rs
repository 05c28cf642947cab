//! What chance chooses from, step by step: what MsgServers do, what goes wrong, what moves.

use crate::handover::wire::Move;
use crate::handover::world::World;

impl World {
    pub(crate) async fn step(&mut self) {
        let time = self.dice.millis(1..60);
        self.pass(time).await;
        let server = self.dice.roll(self.servers.len());
        match self.dice.roll(20) {
            0..4 => self.log_in_or_out(server),
            4..7 => self.ask(server),
            7..16 => self.send(server),
            16 if self.plan.moving_users => self.move_a_user(),
            17 => self.read_slowly(server),
            _ => self.die(server),
        }
        if self.now() >= self.next_disturbance {
            self.disturb();
        }
        if self.dice.once_in(30) {
            self.break_subscriptions();
        }
        if self.dice.once_in(8) {
            self.settle().await;
        }
        self.check_bounds();
        for _ in 0..self.dice.roll(30) {
            let gateway = self.dice.roll(self.gateways.len());
            match self.dice.roll(10) {
                what @ 0..5 => {
                    self.move_wire(gateway, Move::ALL[what]).await;
                }
                5..7 => {
                    self.read(gateway, 1);
                }
                _ => {
                    self.write(gateway, 1);
                }
            }
        }
    }
}
