//! Memory that is free goes back to the system.

/// Gives back what the allocator keeps for later: what a phase needed, the next one most often does not. The allocator of
/// the GNU C library keeps up to some 64 MB for each thread; others are left to themselves.
pub fn give_back() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: the call touches memory alone that is free, and may be made at any time.
    unsafe {
        libc::malloc_trim(0);
    }
}
