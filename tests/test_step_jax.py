"""check_step with jax arrays in and out, in the precision that jax was started with."""

import os
import subprocess
import sys
import textwrap

import pytest

pytestmark = pytest.mark.jax

PROGRAM = textwrap.dedent("""
    import warnings
    warnings.simplefilter("error")
    import jax, jax.numpy as jnp
    import npgcheck

    keys = jax.random.split(jax.random.PRNGKey(0), 4)
    observations = jax.random.normal(keys[0], (100, 5))
    theta = 0.4 * jax.random.normal(keys[1], (5 * 16 + 16 * 4,))

    def policy(theta, observations):
        hidden = jnp.tanh(observations @ theta[:80].reshape(5, 16))
        return hidden @ theta[80:].reshape(16, 4)

    logits = policy(theta, observations)
    actions = jax.random.categorical(keys[2], logits)
    advantages = jax.random.normal(keys[3], (100,))
    rows = jnp.arange(100)

    def log_prob(theta):
        return jax.nn.log_softmax(policy(theta, observations))[rows, actions]

    def kl(theta):
        old, new = jax.nn.log_softmax(logits), jax.nn.log_softmax(policy(theta, observations))
        return (jnp.exp(old) * (old - new)).sum(1).mean()

    def product(v):
        return jax.jvp(jax.grad(kl), (theta,), (v,))[1] + 0.01 * v

    gradient = jax.grad(lambda t: (log_prob(t) * advantages).mean())(theta)
    direction, _ = jax.scipy.sparse.linalg.cg(product, gradient, maxiter=10)
    given = dict(log_prob=log_prob, kl=kl, fisher_vector_product=product)
    batch = (jax.jit(policy), theta, observations, actions, advantages)
    report = npgcheck.check_step(*batch, gradient=gradient, direction=direction, **given)
    print(report)
    assert report.passed
    assert not npgcheck.check_step(*batch, gradient=gradient.at[3].multiply(2), **given).passed
""")


@pytest.mark.parametrize("double", ["0", "1"])
def test_jax_in_and_out(double):
    pytest.importorskip("jax", reason="needs the jax extra")
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        capture_output=True,
        text=True,
        env={**os.environ, "JAX_ENABLE_X64": double, "JAX_PLATFORMS": "cpu"},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert ("float64" if double == "1" else "float32") in done.stdout
