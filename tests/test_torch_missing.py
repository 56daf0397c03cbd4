"""Without torch, npgcheck.torch says what to install; with it, nothing else loads it."""

from __future__ import annotations

import subprocess
import sys


def test_the_missing_extra_is_named():
    program = "import sys; sys.modules['torch'] = None; import npgcheck.torch"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 1
    assert "npgcheck.torch needs torch: pip install 'npgcheck[torch]'." in done.stderr


def test_check_advantages_needs_no_torch():
    program = (
        "import sys; sys.modules['torch'] = None; import npgcheck; "
        "z = [0.0, 0.0]; f = [False, False]; "
        "print(npgcheck.check_advantages(z, z, z, z, f, f, discount=0.9, lam=0.9).passed)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout.strip() == "True", done.stderr
