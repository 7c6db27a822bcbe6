//! Memory use of this program.

/// Memory of this process, bytes, as Linux counts it.
#[derive(Clone, Copy, Debug)]
pub struct Memory {
    /// What is in use: file pages that are mapped included.
    pub resident_bytes: u64,
    /// The most that was ever in use at once.
    pub peak_bytes: u64,
}

impl Memory {
    /// What it is now, or `None` where the system does not say.
    pub fn now() -> Option<Self> {
        let status = std::fs::read_to_string("/proc/self/status").ok()?;
        Some(Self {
            resident_bytes: kilobytes(&status, "VmRSS:")? * 1024,
            peak_bytes: kilobytes(&status, "VmHWM:")? * 1024,
        })
    }
}

/// The number of a line such as `VmHWM:     4321 kB`.
fn kilobytes(status: &str, name: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    line.trim().strip_suffix("kB")?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_read() {
        let status = "VmPeak:\t  9 kB\nVmHWM:\t    4321 kB\nVmRSS:\t 12 kB\n";
        assert_eq!(kilobytes(status, "VmHWM:"), Some(4321));
        assert_eq!(kilobytes(status, "VmRSS:"), Some(12));
        assert_eq!(kilobytes("", "VmRSS:"), None);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn the_peak_is_at_least_what_is_in_use() {
        let now = Memory::now().unwrap();
        assert!(now.resident_bytes > 0 && now.peak_bytes >= now.resident_bytes);
    }
}
