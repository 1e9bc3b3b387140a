//! How many files this process may have open, which bounds how many callers it can serve at once.

/// Callers get at most this part of the files; the rest is for the database, outputs, backends and webhooks.
const PART_OF_CALLERS: usize = 2;
/// The most connections of callers, however many files there may be, and where nothing says how many.
const MOST_CONNECTIONS: usize = 16_384;

/// Returns how many connections of callers may be open at once. Reads what the system says; blocks for no longer than that.
pub fn most_connections() -> usize {
    // Only Linux says it there; elsewhere nothing is known.
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap_or_default();
    connections(open_files(&limits))
}

fn connections(open_files: Option<usize>) -> usize {
    open_files.map_or(MOST_CONNECTIONS, |files| (files / PART_OF_CALLERS).clamp(1, MOST_CONNECTIONS))
}

/// Reads the soft limit; none where it is unlimited or not told.
fn open_files(limits: &str) -> Option<usize> {
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn callers_get_half_of_the_files_that_may_be_open() {
        let limits = "Limit                     Soft Limit           Hard Limit           Units     \n\
                      Max processes             9                    9                    processes \n\
                      Max open files            1024                 524288               files     \n";
        assert_eq!(open_files(limits), Some(1024));
        assert_eq!(connections(Some(1024)), 512);
        assert_eq!(open_files("Max open files            unlimited            unlimited            files"), None);
        assert_eq!(open_files(""), None);
        assert_eq!((connections(None), connections(Some(usize::MAX)), connections(Some(0))), (16_384, 16_384, 1));
    }
}
