//! Processes as the kernel lists them: who lives, with which command line, below whom. Reads only.

/// Every living process with its command line.
pub fn processes() -> Vec<(u32, String)> {
    let Ok(entries) = std::fs::read_dir("/proc") else {
        return Vec::new();
    };
    entries
        .flatten()
        .filter_map(|entry| {
            let pid: u32 = entry.file_name().to_str()?.parse().ok()?;
            let line = std::fs::read(entry.path().join("cmdline")).ok()?;
            let line = String::from_utf8_lossy(&line).replace('\0', " ");
            (!line.is_empty()).then_some((pid, line))
        })
        .collect()
}

/// All processes below `pid`, with their command lines.
pub fn descendants(pid: u32) -> Vec<(u32, String)> {
    let mut below = vec![pid];
    let mut found = Vec::new();
    let all = processes();
    // Each round finds the children of the round before.
    while !below.is_empty() {
        let children: Vec<_> = all
            .iter()
            .filter(|(pid, _)| parent_of(*pid).is_some_and(|parent| below.contains(&parent)))
            .cloned()
            .collect();
        below = children.iter().map(|(pid, _)| *pid).collect();
        found.extend(children);
    }
    found
}

/// Whether the process that had this command line still runs. What has ended and only waits to be reaped has none.
pub fn is_alive(pid: u32, line: &str) -> bool {
    processes().iter().any(|(p, l)| *p == pid && l == line)
}

fn parent_of(pid: u32) -> Option<u32> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in brackets may hold spaces and brackets; the fields follow the last one.
    let fields = stat.rsplit_once(')')?.1;
    fields.split_whitespace().nth(1)?.parse().ok()
}
