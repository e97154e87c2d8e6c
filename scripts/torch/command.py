"""Running the versavit command from the checks."""
import subprocess


class Failed(Exception):
    """The command did not do what was asked; the message has its last lines."""


def run(*words):
    """Runs a command and returns what it printed; raises Failed with the command line unless it exits with 0."""
    words = [str(w) for w in words]
    try:
        done = subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace")
    except OSError as e:
        raise Failed(f"{words[0]}: {e.strerror}") from e
    if done.returncode != 0:
        tail = "\n".join(done.stdout.splitlines()[-10:])
        raise Failed(f"exit status {done.returncode} of: {' '.join(words)}\n{tail}")
    return done.stdout


def attempt(title, check):
    """Runs check() -> bool; a command that fails, or a file that it should have written, is a failed check."""
    try:
        return check()
    except (Failed, OSError, ValueError, KeyError, RuntimeError) as e:
        print(f"FAIL {title}: {type(e).__name__}: {e}")
        return False
