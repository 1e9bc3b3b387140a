//! Seeds that are to be drawn: which inputs hold one, and which numbers they may become.

use super::Workflow;
use std::collections::BTreeMap;

/// Inputs that hold seeds.
pub const SEEDS: [&str; 3] = ["seed", "noise_seed", "rand_seed"];

/// Seeds are drawn from the whole numbers that every reader of JSON can hold and give back.
pub const DRAWN: u64 = (1 << 53) - 1;

/// Says whether an input of this name holds a seed.
pub fn is_seed(input: &str) -> bool {
    SEEDS.contains(&input)
}

impl Workflow {
    /// Puts a drawn seed in the place of every `-1` in an input called `seed`, `noise_seed` or `rand_seed`. `draw` gives
    /// any number; a seed is what is left of it below 2^53, or below the most that the node's class takes. Returns the
    /// seeds that were drawn so far, by node.
    pub fn draw_seeds(&mut self, mut draw: impl FnMut() -> u64) -> &BTreeMap<String, u64> {
        let wanted = self.graph.nodes().map(|(id, node)| {
            let names = node.inputs.iter().filter(|(name, value)| is_seed(name) && value.as_f64() == Some(-1.0));
            (id.to_owned(), names.map(|(name, _)| name.clone()).collect::<Vec<_>>())
        });
        for (node, names) in wanted.filter(|(_, names)| !names.is_empty()).collect::<Vec<_>>() {
            // Several seeds of one node are one choice.
            let most = names.iter().map(|name| self.most(&node, name)).min().unwrap_or(DRAWN);
            let seed = draw() % (most + 1);
            for name in &names {
                if self.graph.set(&node, name, seed.into()).is_ok() {
                    self.seeds.insert(node.clone(), seed);
                }
            }
        }
        &self.seeds
    }

    fn most(&self, node: &str, input: &str) -> u64 {
        let class = self.graph.node(node).and_then(|node| self.definitions.node(&node.class_type));
        let most = class.and_then(|class| class.input(input)).and_then(|input| input.options.get("max")?.as_u64());
        most.map_or(DRAWN, |most| most.min(DRAWN))
    }
}
