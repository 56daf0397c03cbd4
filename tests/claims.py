"""What the tests of claims share."""

from npgcheck import derivation as dv


def small_setting():
    setting = dv.Setting.of("n", "the number of actions")
    setting.theta = setting.family("theta", "log")
    setting.x = setting.family("x", "positive")
    setting.y = setting.family("y", "real")
    return setting


def small_claim(s, rhs, uses=(), claim_id="small", **more):
    b = dv.free("b")
    k = dv.bound("k")
    left = s.sum(dv.delta(k, b) * s.y[k], k)
    statement = dv.Statement.chain("it", "It", s, (left, rhs), [("because", rhs)], (b,), **more)
    assumption = dv.Assumption("n ≥ 1")
    return dv.Claim(claim_id, "A claim", "here", (assumption,), uses, (statement,), "it", ())
