(* The Fisher matrix of a softmax policy, for every number of actions n.

   Probabilities p_a that sum to one, in any commutative ring; the score of action a in coordinate
   b is (a == b) - p_b. Proved: its mean is zero, the Fisher matrix is diag p - p p^T, it applies to
   a vector as a centred weighting, and constants are in its kernel. *)

From mathcomp Require Import all_ssreflect all_algebra.
Set Implicit Arguments.
Unset Strict Implicit.
Unset Printing Implicit Defensive.
Import GRing.Theory.
Local Open Scope ring_scope.

Section Softmax.

Variables (R : comRingType) (n : nat) (p : 'I_n -> R).
Hypothesis sum_p : \sum_a p a = 1.

Definition delta (a b : 'I_n) : R := (a == b)%:R.
Definition score (a b : 'I_n) : R := delta a b - p b.
Definition fisher (b c : 'I_n) : R := \sum_a p a * score a b * score a c.

Lemma sum_delta (f : 'I_n -> R) b : \sum_a f a * delta a b = f b.
Proof.
rewrite (bigD1 b) //= /delta eqxx mulr1 big1 ?addr0 // => a.
by move/negPf->; rewrite mulr0.
Qed.

Theorem mean_score b : \sum_a p a * score a b = 0.
Proof.
under eq_bigr do rewrite mulrBr.
by rewrite sumrB sum_delta -mulr_suml sum_p mul1r subrr.
Qed.

Theorem fisher_closed b c : fisher b c = p b * delta b c - p b * p c.
Proof.
have split_score a :
    p a * score a b * score a c = p a * score a c * delta a b - p a * score a c * p b.
  by rewrite -mulrBr mulrAC.
rewrite /fisher (eq_bigr _ (fun a _ => split_score a)) sumrB.
rewrite (sum_delta (fun a => p a * score a c)) -mulr_suml mean_score mul0r subr0.
by rewrite /score mulrBr.
Qed.

Theorem fisher_applied (w : 'I_n -> R) b :
  \sum_c fisher b c * w c = p b * (w b - \sum_c p c * w c).
Proof.
have expand c : fisher b c * w c = p b * w c * delta c b - p b * (p c * w c).
  by rewrite fisher_closed mulrBl /delta eq_sym mulrAC !mulrA.
rewrite (eq_bigr _ (fun c _ => expand c)) sumrB (sum_delta (fun c => p b * w c)).
by rewrite -mulr_sumr mulrBr.
Qed.

Theorem fisher_constant (k : R) b : \sum_c fisher b c * k = 0.
Proof. by rewrite fisher_applied -mulr_suml sum_p mul1r subrr mulr0. Qed.

End Softmax.

Print Assumptions mean_score.
Print Assumptions fisher_closed.
Print Assumptions fisher_applied.
Print Assumptions fisher_constant.
