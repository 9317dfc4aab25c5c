//! Processor time of all threads, and on which cores they run.

use std::time::Instant;

/// Seconds of processor time and by the clock.
#[derive(Clone, Copy)]
pub(crate) struct Spent {
    pub(crate) cpu: f64,
    pub(crate) clock: f64,
}

/// The least of each over several runs, in turns, so that all meet the same load.
pub(crate) fn best_of<const N: usize>(runs: usize, work: [&dyn Fn(); N]) -> [Spent; N] {
    let mut least = [Spent { cpu: f64::INFINITY, clock: f64::INFINITY }; N];
    for _ in 0..runs {
        for (least, work) in least.iter_mut().zip(work) {
            let (cpu, clock) = (cpu_seconds(), Instant::now());
            work();
            let clock = clock.elapsed().as_secs_f64();
            let cpu = cpu_seconds().zip(cpu).map_or(clock, |(after, before)| after - before);
            *least = Spent { cpu: least.cpu.min(cpu), clock: least.clock.min(clock) };
        }
    }
    least
}

/// What all threads of this process, also ended ones, spent on a processor.
#[cfg(target_os = "linux")]
fn cpu_seconds() -> Option<f64> {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Some(time.tv_sec as f64 + time.tv_nsec as f64 / 1e9)
}

/// Keeps this thread, and those that it starts from now on, on the first `cores` cores.
#[cfg(target_os = "linux")]
pub(crate) fn pin(cores: usize) -> bool {
    let mut set = rustix::thread::CpuSet::new();
    (0..cores).for_each(|core| set.set(core));
    rustix::thread::sched_setaffinity(None, &set).is_ok()
}

#[cfg(not(target_os = "linux"))]
fn cpu_seconds() -> Option<f64> {
    None
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn pin(_cores: usize) -> bool {
    false
}
