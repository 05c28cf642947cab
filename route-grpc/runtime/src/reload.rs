//! What is made of files, and made anew when they are replaced: certificates, keys, policies.
//!
//! Kubernetes, cert-manager and people replace files in many ways: a link to another folder, a file over the old one, a text
//! that is written in place. So nothing is asked but whether the content is another one, every few
//! seconds, and at SIGHUP.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::time::sleep;
use tracing::{error, info, warn};

use crate::tls::files::{FileError, read};

/// Between two looks. Who cannot wait sends SIGHUP.
pub const LOOK: Duration = Duration::from_secs(5);

/// Files that belong together are not always replaced at once: after so long they are.
const SETTLED: Duration = Duration::from_millis(500);

/// What came of a look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Look {
    /// The files are as they were.
    Same,
    /// They were replaced, and are used from now on.
    Taken,
    /// They are of no use: what was before stays. `anew`: they were not before.
    Failed {
        /// Since this look.
        anew: bool,
    },
}

/// A thing that is made of files.
pub struct FromFiles<T> {
    what: &'static str,
    paths: Vec<PathBuf>,
    make: Box<Make<T>>,
    /// What the files had when they were looked at last, or why they could not be read.
    seen: Result<Vec<Vec<u8>>, String>,
    failed: bool,
    now: watch::Sender<Arc<T>>,
}

/// Makes it of the contents of all files, in the order of their paths. An error is for people.
type Make<T> = dyn Fn(&[Vec<u8>]) -> Result<T, String> + Send + Sync;

impl<T: Send + Sync> FromFiles<T> {
    /// Reads the files for the first time. `what` it is, for the log and for metrics.
    ///
    /// # Errors
    ///
    /// A text for people: a file cannot be read, or what is in it is of no use.
    pub fn open(
        what: &'static str,
        paths: Vec<PathBuf>,
        make: impl Fn(&[Vec<u8>]) -> Result<T, String> + Send + Sync + 'static,
    ) -> Result<Self, String> {
        let read = || {
            let seen = contents(&paths).map_err(|error| error.to_string())?;
            let first = make(&seen)?;
            Ok::<_, String>((seen, first))
        };
        // They may be replaced just now.
        let (seen, first) = read().or_else(|_| {
            thread::sleep(SETTLED);
            read()
        })?;
        Ok(Self {
            what,
            paths,
            make: Box::new(make),
            seen: Ok(seen),
            failed: false,
            now: watch::Sender::new(Arc::new(first)),
        })
    }

    /// What it is now, and how one hears that it is another one.
    pub fn follow(&self) -> watch::Receiver<Arc<T>> {
        self.now.subscribe()
    }
}

impl<T> fmt::Debug for FromFiles<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FromFiles")
            .field("what", &self.what)
            .field("paths", &self.paths)
            .finish_non_exhaustive()
    }
}

/// Of whatever kind.
pub trait Reloads: fmt::Debug + Send {
    /// What it is.
    fn what(&self) -> &'static str;

    /// Reads the files; blocks as long as that takes, and a moment longer if they are others than before.
    fn look(&mut self) -> Look;
}

impl<T: Send + Sync> Reloads for FromFiles<T> {
    fn what(&self) -> &'static str {
        self.what
    }

    fn look(&mut self) -> Look {
        let as_before = match self.failed {
            true => Look::Failed { anew: false },
            false => Look::Same,
        };
        let found = self.read();
        if found == self.seen {
            return as_before;
        }
        // Half of a policy is a policy: what is being written counts when nothing more comes.
        thread::sleep(SETTLED);
        if self.read() != found {
            return as_before;
        }
        let made = self.made(&found);
        self.seen = found;
        match made {
            Ok(made) => {
                self.failed = false;
                self.now.send_replace(Arc::new(made));
                info!(what = self.what, "files were replaced, and are used");
                Look::Taken
            }
            Err(problem) => {
                let anew = !std::mem::replace(&mut self.failed, true);
                warn!(
                    what = self.what,
                    problem, "files were replaced, and are of no use: what was before stays"
                );
                Look::Failed { anew }
            }
        }
    }
}

impl<T> FromFiles<T> {
    fn read(&self) -> Result<Vec<Vec<u8>>, String> {
        contents(&self.paths).map_err(|error| error.to_string())
    }

    fn made(&self, found: &Result<Vec<Vec<u8>>, String>) -> Result<T, String> {
        (self.make)(found.as_ref().map_err(Clone::clone)?)
    }
}

fn contents(paths: &[PathBuf]) -> Result<Vec<Vec<u8>>, FileError> {
    paths.iter().map(|path| read(path)).collect()
}

/// Looks at it again and again, and tells what came of it. Never returns.
pub async fn keep_current(mut files: Box<dyn Reloads>, told: impl Fn(&'static str, Look)) {
    let mut hangups = signal(SignalKind::hangup()).ok();
    if hangups.is_none() {
        warn!("cannot catch SIGHUP");
    }
    loop {
        let hangup = async {
            match &mut hangups {
                Some(hangups) => hangups.recv().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = sleep(LOOK) => {}
            _ = hangup => {}
        }
        // A file may be on a disk that hangs: nobody else waits for it.
        let looked = tokio::task::spawn_blocking(move || {
            let look = files.look();
            (files, look)
        });
        match looked.await {
            Ok((back, look)) => {
                files = back;
                told(files.what(), look);
            }
            Err(problem) => {
                error!(%problem, "files are not looked at any more");
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;
    use std::path::Path;

    use super::*;

    /// A folder of its own, as Kubernetes mounts a volume: files behind a link that is swapped.
    struct Volume(PathBuf);

    impl Volume {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("tt-{name}-{}", std::process::id()));
            let _ = fs::remove_dir_all(&path);
            fs::create_dir_all(&path).expect("a folder");
            Self(path)
        }

        /// Replaces all files at once.
        fn swap(&self, version: &str, one: &str, other: &str) {
            let folder = self.0.join(version);
            fs::create_dir(&folder).expect("a folder");
            fs::write(folder.join("one"), one).expect("a file");
            fs::write(folder.join("other"), other).expect("a file");
            symlink(version, self.0.join("..new")).expect("a link");
            fs::rename(self.0.join("..new"), self.0.join("..data")).expect("a swap");
        }

        fn paths(&self) -> Vec<PathBuf> {
            ["one", "other"].map(|it| self.path(it)).into()
        }

        fn path(&self, name: &str) -> PathBuf {
            Path::new(&self.0).join("..data").join(name)
        }
    }

    impl Drop for Volume {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    /// Two files that say the same.
    fn same(volume: &Volume) -> Result<FromFiles<String>, String> {
        FromFiles::open("test", volume.paths(), |found| match found {
            [one, other] if one == other => Ok(String::from_utf8_lossy(one).into_owned()),
            _ => Err("they differ".to_owned()),
        })
    }

    #[test]
    fn files_that_are_replaced_are_used() {
        let volume = Volume::new("swap");
        volume.swap("1", "a", "a");
        let mut files = same(&volume).expect("they are the same");
        let mut now = files.follow();
        assert_eq!(files.look(), Look::Same);

        volume.swap("2", "b", "b");

        assert_eq!(files.look(), Look::Taken);
        assert!(now.has_changed().expect("it is followed"));
        assert_eq!(**now.borrow_and_update(), "b");
    }

    #[test]
    fn what_is_of_no_use_changes_nothing_until_it_is_mended() {
        let volume = Volume::new("broken");
        volume.swap("1", "a", "a");
        let mut files = same(&volume).expect("they are the same");
        let now = files.follow();

        volume.swap("2", "b", "c");
        assert_eq!(files.look(), Look::Failed { anew: true });
        assert_eq!(files.look(), Look::Failed { anew: false });
        assert_eq!(**now.borrow(), "a");
        fs::remove_file(volume.path("one")).expect("it was there");
        assert_eq!(files.look(), Look::Failed { anew: false });

        fs::write(volume.path("one"), "c").expect("a file");
        assert_eq!(files.look(), Look::Taken);
        assert_eq!(**now.borrow(), "c");
    }

    #[test]
    fn what_is_being_written_does_not_count_yet() {
        let volume = Volume::new("written");
        volume.swap("1", "a", "a");
        let mut files = same(&volume).expect("they are the same");
        let paths = volume.paths();
        for path in &paths {
            fs::write(path, "b").expect("a file");
        }
        let more = thread::spawn(move || {
            thread::sleep(SETTLED / 4);
            for path in &paths {
                fs::write(path, "b, and more").expect("a file");
            }
        });

        assert_eq!(files.look(), Look::Same);
        more.join().expect("it is written");
        assert_eq!(files.look(), Look::Taken);
        assert_eq!(**files.follow().borrow(), "b, and more");
    }

    #[test]
    fn what_is_of_no_use_at_the_start_is_an_error() {
        let volume = Volume::new("start");
        let missing = same(&volume).expect_err("there are no files");
        assert!(missing.contains("one"), "{missing}");

        volume.swap("1", "a", "b");
        assert_eq!(same(&volume).expect_err("they differ"), "they differ");
    }
}
