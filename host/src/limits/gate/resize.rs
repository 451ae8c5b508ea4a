//! A gate that becomes larger or smaller while it is in use.
//!
//! Pure.

use std::time::Duration;

use super::{Gate, Places, Shares, Shut, Waiting, turn_away};

impl Gate {
    /// Makes the gate larger or smaller. Who is inside stays, and where there are fewer places than before, those that come
    /// free are withheld until as many as there may be are inside; likewise for the share of a holder. Who waits keeps his
    /// place in line and his patience, but for those at the end of a line that is too long now. Those for whom there is a
    /// place now are let in.
    pub fn resize(&self, shares: Shares, patience: Duration) {
        let (let_in, away) = {
            let mut places = self.places();
            places.patience = patience;
            if places.shares == shares {
                return;
            }
            let away = places.resize(shares);
            (places.let_in(), away)
        };
        turn_away(away, Shut::Full);
        self.tell(let_in);
    }
}

impl Places {
    /// Takes out those who may not wait any more.
    fn resize(&mut self, shares: Shares) -> Vec<Waiting> {
        let of_before = |withheld: usize, places: usize| withheld * shares.places / places.max(1);
        if let Some(start) = &mut self.slow_start {
            // The same part of the places is withheld as before.
            start.withheld = of_before(start.withheld, self.shares.places);
            self.withheld = of_before(self.withheld, self.shares.places).min(start.withheld);
        }
        self.shares = shares;
        self.step_aside();
        let mut away = self.line.split_off(shares.queue.min(self.line.len()));
        for waiting in &away {
            if let Some(share) = self.holders.get_mut(&waiting.holder) {
                share.in_line -= 1;
            }
        }
        for share in self.holders.values_mut() {
            // Of whom nobody is inside or in line, nobody waits beside it.
            let most = if share.inside + share.in_line == 0 { 0 } else { shares.queue };
            away.extend(share.beside.split_off(most.min(share.beside.len())));
        }
        self.holders.retain(|_, share| !share.is_empty());
        self.beside = self.holders.values().map(|share| share.beside.len()).sum();
        self.all_move_up();
        away.into()
    }

    /// Of holders who have more than their share now, those who came last wait beside the line.
    fn step_aside(&mut self) {
        let mut line = std::mem::take(&mut self.line);
        while let Some(waiting) = line.pop_back() {
            match self.holders.get_mut(&waiting.holder) {
                Some(share) if share.inside + share.in_line > self.shares.share => {
                    share.in_line -= 1;
                    self.beside += 1;
                    share.beside.push_front(waiting);
                }
                _ => self.line.push_front(waiting),
            }
        }
    }

    /// Those beside the line whose holders may have more now join it, in order of arrival. If the
    /// line is too long then, nobody else joins it for a while: nobody who waits already is left to wait beside it in vain.
    fn all_move_up(&mut self) {
        let shares = self.shares;
        let mut numbers: Vec<_> = self
            .holders
            .iter()
            .flat_map(|(holder, share)| {
                let more = shares.share.saturating_sub(share.inside + share.in_line);
                let more = more.min(shares.of_queue().saturating_sub(share.in_line));
                share.beside.iter().take(more).map(|waiting| (waiting.number, *holder))
            })
            .collect();
        numbers.sort_unstable_by_key(|(number, _)| *number);
        for (_, holder) in numbers {
            if let Some(share) = self.holders.get_mut(&holder)
                && let Some(waiting) = share.beside.pop_front()
            {
                share.in_line += 1;
                self.beside -= 1;
                self.line.push_back(waiting);
            }
        }
    }
}
