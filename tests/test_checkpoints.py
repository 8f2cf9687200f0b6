"""The files of a run; those of whole runs are tested in test_runs.py."""

import torch

from vae_helpers.store import checkpoints


class Counter:
    """A state of one number."""

    def state_dict(self):
        return {"count": torch.tensor(7.0)}


def test_a_whole_file_whose_history_is_not_that_of_its_epoch_is_not_taken(tmp_path):
    state = Counter()
    for epoch, noted in {1: [1], 2: [1, 2], 3: [1], 4: [1, 3, 3, 4], 5: [2, 3, 4, 5, 6]}.items():
        history = [{"epoch": number} for number in noted]
        path = tmp_path / f"checkpoint-{epoch:04}.pt"
        checkpoints.save(path, {"history": history, "state": state.state_dict()})
    found = checkpoints.last_good_checkpoint(tmp_path, state)
    assert found["history"] == [{"epoch": 1}, {"epoch": 2}]
