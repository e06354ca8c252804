//! Memory that is free goes back to the system.
//!
//! What is said here to the allocator of the GNU C library, it does not do by itself; others are left to themselves.

/// Gives back what the allocator keeps for later: what a phase needed, the next one most often does not. It may be some 64 MB
/// for each thread.
pub fn give_back() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: the call touches memory alone that is free, and may be made at any time.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// While it lives, all but small vectors are pages of their own, which go back as soon as they are free and grow without leaving
/// holes behind: for reading, where vectors of all sizes come and go, and the little that stays of each block of text would
/// otherwise lie between them and hold them back. Afterwards what is free is kept for the next iteration, which takes as much
/// again: new pages cost more than what they are used for.
#[derive(Debug)]
pub struct Lean(());

/// Bytes from which on vectors are pages of their own.
const PAGES_FROM: i32 = 1 << 17;
/// The same for what is computed later on, where vectors come and go that are passed over many times; and how much may be free at the end of the heap.
const PAGES_FROM_LATER: i32 = 4 << 20;
const KEPT_LATER: i32 = 16 << 20;

impl Lean {
    /// Begins.
    pub fn begin() -> Self {
        set(PAGES_FROM, 8 * PAGES_FROM);
        Lean(())
    }
}

impl Drop for Lean {
    fn drop(&mut self) {
        set(PAGES_FROM_LATER, KEPT_LATER);
    }
}

fn set(pages_from: i32, kept: i32) {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: both set a number, at any time; what is refused leaves the allocator as it was.
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, pages_from);
        libc::mallopt(libc::M_TRIM_THRESHOLD, kept);
    }
    #[cfg(not(all(target_os = "linux", target_env = "gnu")))]
    let _ = (pages_from, kept);
}
