//! Whose the server is that listens on a port of this machine: one of a process group, or somebody else's. Where the system does not
//! tell it (it is read from Linux's `/proc`), nobody knows.

/// Whose a listening server is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Owner {
    /// A process of the group, or one that such a process has started.
    Ours,
    /// Another process, in words.
    Others(String),
    /// Nobody listens, or it cannot be seen who does.
    Unknown,
}

/// Looks who listens on a port. It reads many small files, and must not be called where others wait. `group` is the group's
/// number; none for whoever it is.
#[cfg(target_os = "linux")]
pub(super) fn owner(port: u16, group: Option<u32>) -> Owner {
    linux::owner(std::path::Path::new("/proc"), port, group)
}

/// Looks who listens on a port.
#[cfg(not(target_os = "linux"))]
pub(super) fn owner(_port: u16, _group: Option<u32>) -> Owner {
    Owner::Unknown
}

#[cfg(target_os = "linux")]
mod linux {
    use super::Owner;
    use std::fs;
    use std::path::Path;

    /// The state of a socket that listens, as the tables have it.
    const LISTENS: &str = "0A";
    /// How many ancestors of a process are looked at.
    const ANCESTORS: usize = 64;

    pub(super) fn owner(proc: &Path, port: u16, group: Option<u32>) -> Owner {
        let table = |name: &str| fs::read_to_string(proc.join("self/net").join(name)).unwrap_or_default();
        let sockets: Vec<String> = ["tcp", "tcp6"].iter().flat_map(|name| listening(&table(name), port)).collect();
        if sockets.is_empty() {
            return Owner::Unknown;
        }
        let Ok(entries) = fs::read_dir(proc) else { return Owner::Unknown };
        let ids = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
        let holders: Vec<u32> = ids.filter(|id| holds(proc, *id, &sockets)).collect();
        if holders.iter().any(|id| is_of(proc, *id, group)) {
            return Owner::Ours;
        }
        let Some(id) = holders.first() else { return Owner::Unknown };
        let name = fs::read_to_string(proc.join(id.to_string()).join("comm")).unwrap_or_default();
        Owner::Others(format!("process {id}, `{}`", name.trim().escape_debug()))
    }

    /// Returns the sockets that listen on a port, as links to them are written.
    pub(super) fn listening(table: &str, port: u16) -> Vec<String> {
        let socket = move |line: &str| {
            let fields: Vec<&str> = line.split_whitespace().collect();
            let (_, hexadecimal) = fields.get(1)?.rsplit_once(':')?;
            let is_it = u16::from_str_radix(hexadecimal, 16) == Ok(port) && *fields.get(3)? == LISTENS;
            is_it.then_some(format!("socket:[{}]", fields.get(9)?))
        };
        table.lines().filter_map(socket).collect()
    }

    fn holds(proc: &Path, id: u32, sockets: &[String]) -> bool {
        let Ok(open) = fs::read_dir(proc.join(id.to_string()).join("fd")) else { return false };
        let mut targets = open.flatten().filter_map(|entry| fs::read_link(entry.path()).ok());
        targets.any(|target| sockets.iter().any(|socket| target.as_os_str() == socket.as_str()))
    }

    /// Says whether a process, or one of its ancestors, is in the group.
    fn is_of(proc: &Path, id: u32, group: Option<u32>) -> bool {
        let Some(group) = group else { return false };
        let mut id = id;
        for _ in 0..ANCESTORS {
            let Some((parent, own)) = lineage(proc, id) else { return false };
            if own == group {
                return true;
            }
            id = parent;
        }
        false
    }

    /// Returns a process's parent and group.
    fn lineage(proc: &Path, id: u32) -> Option<(u32, u32)> {
        let stat = fs::read_to_string(proc.join(id.to_string()).join("stat")).ok()?;
        // Its name, in brackets, may have anything in it.
        let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(1);
        Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
    }
}

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests {
    use super::*;
    use std::net::TcpListener;

    #[test]
    fn who_listens_is_found() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let Owner::Others(who) = owner(port, None) else { panic!("nobody was found") };
        assert!(who.starts_with(&format!("process {}, `", std::process::id())), "{who}");
        assert_eq!(owner(port, Some(u32::MAX)), Owner::Others(who));
        let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
        let group = stat.rsplit_once(')').unwrap().1.split_whitespace().nth(2).unwrap().parse().unwrap();
        assert_eq!(owner(port, Some(group)), Owner::Ours);
    }

    #[test]
    fn only_what_listens_on_the_port_counts() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n\
             0: 0100007F:1FFC 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 111 1 0 100 0 0 10 0\n\
             1: 0100007F:1FFC 0100007F:9999 01 00000000:00000000 00:00000000 00000000  1000        0 222 1 0 100 0 0 10 0\n\
             2: 0100007F:1FFD 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 333 1 0 100 0 0 10 0\n\
             3: short\n";
        assert_eq!(linux::listening(table, 0x1ffc), ["socket:[111]"]);
        assert!(linux::listening("", 1).is_empty());
    }
}
