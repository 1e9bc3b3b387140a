//! Makes sure that prompts are no longer on a backend, for those who give up all that runs there. Which those are is decided
//! by others.

use super::upstream::stop_upstream;
use crate::clock::Clock;
use crate::comfy::Client;
use crate::job::PromptId;
use std::time::Duration;

/// How often the backend's queue is looked at.
const LOOK: Duration = Duration::from_millis(250);

/// How many looks in a row must find none of them: one that was on its way may come late.
const SURE: u32 = 2;

/// Stops prompts by their ids until none of them is there. Returns why that is not sure, where it is not: the backend cannot be
/// asked, or does not let go of them within `limit`.
pub async fn stop_all(client: &Client, prompts: &[PromptId], clock: &dyn Clock, limit: Duration) -> Result<(), String> {
    let until = clock.now() + limit;
    let mut absent = 0;
    loop {
        let unsure = match client.queue().await {
            Ok(queue) => {
                let is_there = |prompt: &&PromptId| {
                    let mut all = queue.running.iter().chain(&queue.pending);
                    all.any(|there| there == prompt.as_str())
                };
                let there: Vec<&PromptId> = prompts.iter().filter(is_there).collect();
                absent = if there.is_empty() { absent + 1 } else { 0 };
                if absent >= SURE {
                    return Ok(());
                }
                for prompt in &there {
                    stop_upstream(client, prompt).await;
                }
                format!("{} of its prompts are still there after they were stopped", there.len())
            }
            // It may be back in a moment, and runs on.
            Err(error) => {
                absent = 0;
                error.to_string()
            }
        };
        let now = clock.now();
        if now >= until {
            return Err(unsure);
        }
        clock.sleep_until(now + LOOK).await;
    }
}
