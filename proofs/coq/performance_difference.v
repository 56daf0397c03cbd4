(* The Bellman equation and the performance difference, for every number of states n.

   P and P' are the transition matrices under two policies, r and r' their rewards, rho the start;
   all that is assumed of them is that I - g P and I - g P' are invertible. *)

From mathcomp Require Import all_ssreflect all_algebra.
Set Implicit Arguments.
Unset Strict Implicit.
Unset Printing Implicit Defensive.
Import GRing.Theory.
Local Open Scope ring_scope.

Section PerformanceDifference.

Variables (R : fieldType) (n : nat) (g : R).
Variables (P P' : 'M[R]_n) (r r' : 'cV[R]_n) (rho : 'rV[R]_n).

Definition system (T : 'M[R]_n) : 'M[R]_n := 1%:M - g *: T.
Definition value (T : 'M[R]_n) (c : 'cV[R]_n) : 'cV[R]_n := invmx (system T) *m c.
Definition visits (T : 'M[R]_n) : 'rV[R]_n := rho *m invmx (system T).

Hypothesis old_unit : system P \in unitmx.
Hypothesis new_unit : system P' \in unitmx.

Theorem bellman : value P r = r + g *: (P *m value P r).
Proof.
have : system P *m value P r = r by rewrite /value mulKVmx.
by rewrite /system mulmxBl mul1mx -scalemxAl => /eqP; rewrite subr_eq => /eqP.
Qed.

Theorem objective_is_a_mean_of_rewards : rho *m value P r = visits P *m r.
Proof. by rewrite /value /visits mulmxA. Qed.

Theorem flow : visits P = rho + g *: (visits P *m P).
Proof.
have : visits P *m system P = rho by rewrite /visits mulmxKV.
by rewrite /system mulmxBr mulmx1 -scalemxAr => /eqP; rewrite subr_eq => /eqP.
Qed.

(* r' + g P' V - V is the advantage of the old policy, averaged over the new one *)
Theorem performance_difference :
  rho *m value P' r' - rho *m value P r
  = visits P' *m (r' + g *: (P' *m value P r) - value P r).
Proof.
set V := value P r.
have -> : r' + g *: (P' *m V) - V = r' - system P' *m V.
  by rewrite /system mulmxBl mul1mx -scalemxAl opprB addrA.
rewrite mulmxBr [visits P' *m (_ *m V)]mulmxA /visits mulmxKV //.
by rewrite /value mulmxA.
Qed.

End PerformanceDifference.

Print Assumptions bellman.
Print Assumptions objective_is_a_mean_of_rewards.
Print Assumptions flow.
Print Assumptions performance_difference.
