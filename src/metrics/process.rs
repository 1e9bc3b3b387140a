//! What the system says of this process. Only Linux says it in files; elsewhere nothing is told.

use std::fs;

/// How many ticks of processor time a second has: what Linux tells programs on every machine of today.
const TICKS: f64 = 100.0;

/// What the system says; none of what it does not say.
#[derive(Clone, PartialEq, Debug, Default)]
pub(super) struct Process {
    pub(super) cpu_seconds: Option<f64>,
    /// In bytes.
    pub(super) memory: Option<u64>,
    pub(super) open_files: Option<usize>,
    pub(super) most_files: Option<u64>,
}

impl Process {
    /// Asks. It takes a fraction of a millisecond, or a few where thousands of files are open.
    pub(super) fn read() -> Self {
        let text = |name: &str| fs::read_to_string(format!("/proc/self/{name}")).unwrap_or_default();
        Self {
            cpu_seconds: cpu_seconds(&text("stat")),
            memory: memory(&text("status")),
            // The one that reads the folder is not counted.
            open_files: fs::read_dir("/proc/self/fd").ok().map(|files| files.count().saturating_sub(1)),
            most_files: most_files(&text("limits")),
        }
    }
}

/// Reads the 14th and the 15th field: ticks of the program and of the system for it. The second is its name, which may have
/// blanks and brackets.
fn cpu_seconds(stat: &str) -> Option<f64> {
    let (_, rest) = stat.rsplit_once(')')?;
    let mut ticks = rest.split_whitespace().skip(11);
    let mut next = || ticks.next()?.parse::<u32>().ok().map(f64::from);
    Some((next()? + next()?) / TICKS)
}

fn memory(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: u64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kibibytes * 1024)
}

fn most_files(limits: &str) -> Option<u64> {
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processor_time_memory_and_files_are_read_from_what_linux_writes() {
        let stat = "77 (co) m (fy) S 1 77 77 0 -1 4194560 9 0 0 0 250 125 3 4 20 0 9 0 1 1 1";
        assert_eq!(cpu_seconds(stat), Some(3.75));
        assert_eq!(memory("VmPeak:\t 9 kB\nVmRSS:\t   2048 kB\n"), Some(2 * 1024 * 1024));
        let limits = "Limit                     Soft Limit           Hard Limit           Units     \n\
                      Max open files            1024                 524288               files     \n";
        assert_eq!(most_files(limits), Some(1024));
        for nothing in ["", "77 (x", "VmRSS:", "Max open files unlimited unlimited files"] {
            assert_eq!((cpu_seconds(nothing), memory(nothing), most_files(nothing)), (None, None, None), "{nothing}");
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn this_process_has_memory_and_files() {
        let process = Process::read();
        assert!(process.memory.unwrap() > 1024 * 1024);
        let (open, most) = (process.open_files.unwrap(), process.most_files.unwrap());
        assert!(open >= 3 && u64::try_from(open).unwrap() <= most, "{open} of {most}");
        assert!(process.cpu_seconds.is_some());
    }
}
