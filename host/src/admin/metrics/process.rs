//! Numbers of the process, as the kernel has them. What it does not tell is left out.

use std::time::SystemTime;

use rustix::param::{clock_ticks_per_second, page_size};
use rustix::process::{Resource, getrlimit};

use crate::times::since_1970;

/// What the kernel says.
#[derive(Debug)]
pub(super) struct Process {
    /// Seconds of processor time, of all threads.
    pub(super) cpu_seconds: f64,
    /// Threads.
    pub(super) threads: u64,
    /// When it started: seconds since 1970.
    pub(super) started: f64,
    /// Bytes of its address space.
    pub(super) virtual_bytes: u64,
    /// Bytes of it that are in memory.
    pub(super) resident_bytes: u64,
}

impl Process {
    /// As it is now.
    pub(super) fn now() -> Option<Self> {
        let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
        // The name, in brackets, may have any character.
        let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_ascii_whitespace().collect();
        // proc(5) counts from 1, and the name is the second field.
        let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
        let seconds = |ticks: u64| ticks as f64 / clock_ticks_per_second() as f64;
        Some(Self {
            cpu_seconds: seconds(field(14)? + field(15)?),
            threads: field(20)?,
            started: boot_time()? as f64 + seconds(field(22)?),
            virtual_bytes: field(23)?,
            resident_bytes: field(24)? * page_size() as u64,
        })
    }

    /// Seconds since it started.
    pub(super) fn uptime(&self) -> f64 {
        let now = since_1970(SystemTime::now());
        (now.as_secs_f64() - self.started).max(0.0)
    }
}

fn boot_time() -> Option<u64> {
    let stat = std::fs::read_to_string("/proc/stat").ok()?;
    stat.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()
}

/// Open descriptors.
pub(super) fn open_files() -> Option<u64> {
    // The folder itself is open while it is read.
    std::fs::read_dir("/proc/self/fd").ok().map(|files| (files.count() as u64).saturating_sub(1))
}

/// How many there may be.
pub(super) fn most_open_files() -> Option<u64> {
    getrlimit(Resource::Nofile).current
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_tells_of_this_process() {
        let process = Process::now().unwrap();
        assert!(process.threads >= 1 && process.resident_bytes > 1 << 20, "{process:?}");
        assert!(process.virtual_bytes >= process.resident_bytes && process.uptime() < 86_400.0, "{process:?}");
        assert!(open_files() >= Some(3) && most_open_files() > open_files());
    }
}
