//! `route-grpc completions` and `route-grpc man`: what a shell and `man` know of the commands.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::{Args, Command};
use clap_complete::Shell;

use crate::failure::Failure;

const NAME: &str = "route-grpc";

/// Flags of `completions`.
#[derive(Debug, Args)]
pub(crate) struct CompletionsArgs {
    /// For which shell
    shell: Shell,
}

/// Flags of `man`.
#[derive(Debug, Args)]
pub(crate) struct ManArgs {
    /// Write one page a command into this folder; without it, the page of route-grpc itself goes to standard output
    folder: Option<PathBuf>,
}

/// Writes a script for the shell.
pub(crate) fn completions(args: &CompletionsArgs, mut cli: Command) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut cli, NAME, &mut script);
    Ok(io::stdout().write_all(&script)?)
}

/// Writes man pages.
pub(crate) fn man(args: &ManArgs, cli: Command) -> Result<(), Failure> {
    match &args.folder {
        None => Ok(clap_mangen::Man::new(cli).render(&mut io::stdout())?),
        Some(folder) => Ok(pages(cli, folder)?),
    }
}

fn pages(cli: Command, folder: &Path) -> anyhow::Result<()> {
    let written = clap_mangen::generate_to(cli, folder);
    written.with_context(|| format!("cannot write into {}", folder.display()))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;
    use crate::Cli;

    #[test]
    fn shells_know_the_commands() {
        for shell in [Shell::Bash, Shell::Fish, Shell::Zsh] {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), NAME, &mut script);
            let script = String::from_utf8(script).expect("text");
            assert!(
                script.contains("log-filter") && script.contains("admin-address"),
                "{shell}"
            );
        }
    }

    #[test]
    fn each_command_has_a_page() {
        let folder = std::env::temp_dir().join(format!("route-grpc-man-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder");

        pages(Cli::command(), &folder).expect("they are written");

        let page = std::fs::read_to_string(folder.join("route-grpc-migrate.1")).expect("a page");
        assert!(page.contains("expect"), "{page}");
        std::fs::remove_dir_all(folder).expect("it is ours");
    }
}
