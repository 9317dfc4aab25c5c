//! Work that would hold an async thread up, such as waiting for the disk, on threads that may be held up.

use depin_core::Result;

/// Threads of a process that do such work at a time: enough for a disk to have some choice, and so few that
/// any number of readers leave the processors to whoever has to acknowledge.
#[cfg(any(feature = "http", feature = "mqtt", feature = "redb"))]
static TURNS: tokio::sync::Semaphore = tokio::sync::Semaphore::const_new(4);

/// Runs `work` aside when its turn comes, and on the caller's thread where there is no runtime of tokio.
///
/// # Errors
/// [`ErrorKind::Unavailable`](depin_core::ErrorKind::Unavailable) when the runtime stops.
#[cfg(any(feature = "http", feature = "mqtt", feature = "redb"))]
pub(crate) async fn aside<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T> {
    use depin_core::Error;

    let Ok(runtime) = tokio::runtime::Handle::try_current() else { return Ok(work()) };
    let stopped = || Error::unavailable("the runtime is stopping; ask again in another");
    let turn = TURNS.acquire().await.map_err(|error| stopped().source(error))?;
    // Who waits for the work may be gone before it ends; then it ends in its turn all the same.
    let work = runtime.spawn_blocking(move || {
        let _turn = turn;
        work()
    });
    work.await.map_err(|error| stopped().source(error))
}

/// Runs `work`: without a runtime every thread may be held up.
#[cfg(not(any(feature = "http", feature = "mqtt", feature = "redb")))]
pub(crate) async fn aside<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T> {
    Ok(work())
}
