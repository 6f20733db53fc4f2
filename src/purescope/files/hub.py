"""Files of the Hugging Face hub: from its cache on this disk, or downloaded unless offline."""

from collections.abc import Sequence
from pathlib import Path

from purescope.errors import ModelError


def is_offline(offline: bool) -> bool:
    """Tell whether downloads are forbidden, by the argument or by HF_HUB_OFFLINE in the
    environment.
    """
    from huggingface_hub.constants import HF_HUB_OFFLINE

    return offline or HF_HUB_OFFLINE


def fetch_file(repository: str, names: Sequence[str], *, offline: bool) -> Path:
    """Return the first of the named files that a repository has.

    Raises:
        ModelError: it has none of them, it cannot be reached, or, offline, none is on this disk.
    """
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, RemoteEntryNotFoundError

    offline = is_offline(offline)
    absent = EntryNotFoundError if offline else RemoteEntryNotFoundError
    for name in names:
        try:
            return Path(hf_hub_download(repository, name, local_files_only=offline))
        except absent:
            continue
        except Exception as error:  # from the hub, the network or the disk
            raise _unreachable(repository, name, error) from error
    wanted = " or ".join(names)
    if offline:
        raise missing_offline(f"{wanted} of {repository}")
    raise ModelError(
        f"the hub's repository {repository} has no {wanted}",
        fix="check its name and its list of files",
    )


def fetch_folder(repository: str, patterns: Sequence[str], *, offline: bool) -> Path:
    """Return a folder with the files of a repository that match the patterns.

    A missing file is only noticed when it is read.

    Raises:
        ModelError: the repository cannot be reached or, offline, is not on this disk.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    offline = is_offline(offline)
    try:
        return Path(
            snapshot_download(repository, allow_patterns=list(patterns), local_files_only=offline)
        )
    except Exception as error:
        if offline and isinstance(error, LocalEntryNotFoundError):
            raise missing_offline(f"the repository {repository}") from error
        raise _unreachable(repository, "files", error) from error


def missing_offline(what: str) -> ModelError:
    """Make the error for a file that would have to be downloaded while offline."""
    return ModelError(
        f"{what}: not on this disk, and nothing is downloaded offline",
        fix="load it once without --offline and HF_HUB_OFFLINE, or give a local folder or file",
    )


def _unreachable(repository: str, name: str, error: Exception) -> ModelError:
    reason = (str(error).strip() or type(error).__name__).splitlines()[0][:300]
    # In many containers the user has no home folder.
    if "home directory" in reason:
        return ModelError(
            f"{name} of {repository}: this user has no home folder, where the hub's files are kept",
            fix="set HF_HOME to a folder for them, or HOME; or give a local folder or file",
        )
    return ModelError(
        f"{name} of {repository} cannot be loaded from the hub: {reason}",
        fix="check the name ORG/NAME and the connection; a gated repository needs `hf auth login`",
    )
