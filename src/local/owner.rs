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
        let sockets: Vec<Socket> = ["tcp", "tcp6"].iter().flat_map(|name| listening(&table(name), port)).collect();
        if sockets.is_empty() {
            return Owner::Unknown;
        }
        let Ok(entries) = fs::read_dir(proc) else { return Owner::Unknown };
        let ids = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
        let holders: Vec<u32> = ids.filter(|id| holds(proc, *id, &sockets)).collect();
        if holders.iter().any(|id| is_of(proc, *id, group)) {
            return Owner::Ours;
        }
        let Some(id) = holders.first() else { return unseen(proc, &sockets) };
        let name = fs::read_to_string(proc.join(id.to_string()).join("comm")).unwrap_or_default();
        Owner::Others(format!("process {id}, `{}`", name.trim().escape_debug()))
    }

    /// A socket that listens.
    #[derive(PartialEq, Eq, Debug)]
    pub(super) struct Socket {
        /// As links to it are written.
        pub(super) link: String,
        /// The user whose it is.
        pub(super) user: u32,
    }

    /// Returns the sockets that listen on a port.
    pub(super) fn listening(table: &str, port: u16) -> Vec<Socket> {
        let socket = move |line: &str| {
            let fields: Vec<&str> = line.split_whitespace().collect();
            let (_, hexadecimal) = fields.get(1)?.rsplit_once(':')?;
            let is_it = u16::from_str_radix(hexadecimal, 16) == Ok(port) && *fields.get(3)? == LISTENS;
            is_it.then_some(Socket { link: format!("socket:[{}]", fields.get(9)?), user: fields.get(7)?.parse().ok()? })
        };
        table.lines().filter_map(socket).collect()
    }

    /// Judges by the user where no process is seen to have the sockets: what those of other users have open is not shown.
    fn unseen(proc: &Path, sockets: &[Socket]) -> Owner {
        let status = fs::read_to_string(proc.join("self/status")).unwrap_or_default();
        // The second of its users is the one that sockets get.
        let users = status.lines().find_map(|line| line.strip_prefix("Uid:"));
        let Some(own) = users.and_then(|users| users.split_whitespace().nth(1)?.parse::<u32>().ok()) else {
            return Owner::Unknown;
        };
        match sockets.first() {
            Some(socket) if sockets.iter().all(|socket| socket.user != own) => {
                Owner::Others(format!("a process of user {}", socket.user))
            }
            Some(_) | None => Owner::Unknown,
        }
    }

    fn holds(proc: &Path, id: u32, sockets: &[Socket]) -> bool {
        let Ok(open) = fs::read_dir(proc.join(id.to_string()).join("fd")) else { return false };
        let mut targets = open.flatten().filter_map(|entry| fs::read_link(entry.path()).ok());
        targets.any(|target| sockets.iter().any(|socket| target.as_os_str() == socket.link.as_str()))
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
    fn a_server_whose_process_cannot_be_seen_is_another_users() {
        let of = |uid: u32| {
            let proc = tempfile::tempdir().unwrap();
            std::fs::create_dir_all(proc.path().join("self/net")).unwrap();
            let line =
                format!("0: 0100007F:1FFC 00000000:0000 0A 00000000:00000000 00:00000000 00000000 {uid} 0 111 1 0\n");
            std::fs::write(proc.path().join("self/net/tcp"), line).unwrap();
            std::fs::write(proc.path().join("self/status"), "Name:\tx\nUid:\t7\t1000\t7\t7\nGid:\t9\t9\t9\t9\n")
                .unwrap();
            linux::owner(proc.path(), 0x1ffc, Some(5))
        };
        assert_eq!(of(1001), Owner::Others("a process of user 1001".to_owned()));
        assert_eq!(of(1000), Owner::Unknown, "it may be ours");
    }

    #[test]
    fn only_what_listens_on_the_port_counts() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n\
             0: 0100007F:1FFC 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 111 1 0 100 0 0 10 0\n\
             1: 0100007F:1FFC 0100007F:9999 01 00000000:00000000 00:00000000 00000000  1000        0 222 1 0 100 0 0 10 0\n\
             2: 0100007F:1FFD 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 333 1 0 100 0 0 10 0\n\
             3: short\n";
        let one = linux::Socket { link: "socket:[111]".to_owned(), user: 1000 };
        assert_eq!(linux::listening(table, 0x1ffc), [one]);
        assert!(linux::listening("", 1).is_empty());
    }
}
