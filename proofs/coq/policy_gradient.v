(* The policy gradient theorem and the softmax Jacobian, for an abstract derivation.

   D is any additive map on a field with the product rule: the only facts about d/dtheta that are
   used. Derivatives of matrices are taken entry by entry. *)

From mathcomp Require Import all_ssreflect all_algebra.
From NpgCheck Require Import softmax_fisher.
Set Implicit Arguments.
Unset Strict Implicit.
Unset Printing Implicit Defensive.
Import GRing.Theory.
Local Open Scope ring_scope.

Section Derivation.

Variables (K : fieldType) (D : {additive K -> K}).
Hypothesis product_rule : forall x y, D (x * y) = D x * y + x * D y.

Lemma derivative_one : D 1 = 0.
Proof.
have := product_rule 1 1; rewrite !mulr1 mul1r => /eqP.
by rewrite -subr_eq subrr => /eqP.
Qed.

Lemma derivative_inverse x : x != 0 -> D x^-1 = - (D x / x ^+ 2).
Proof.
move=> nonzero; have := product_rule x x^-1.
rewrite divff // derivative_one => /eqP; rewrite eq_sym addrC addr_eq0 => /eqP solved.
apply: (mulfI nonzero); rewrite solved mulrN; congr (- _).
by rewrite expr2 invfM !mulrA [x * D x]mulrC mulfK.
Qed.

End Derivation.

Section Softmax.

Variables (K : fieldType) (n : nat) (x : 'I_n -> K) (D : 'I_n -> {additive K -> K}).
Hypothesis product_rule : forall b u v, D b (u * v) = D b u * v + u * D b v.
(* x_a = exp theta_a, so that its derivative in theta_b is x_a for a = b and 0 otherwise *)
Hypothesis exponential : forall b a, D b (x a) = (a == b)%:R * x a.

Let Z := \sum_a x a.
Hypothesis Z_nonzero : Z != 0.
Definition probability a := x a / Z.

Lemma derivative_normaliser b : D b Z = x b.
Proof.
rewrite /Z raddf_sum (bigD1 b) //= exponential eqxx mul1r big1 ?addr0 // => a /negPf other.
by rewrite exponential other mul0r.
Qed.

Theorem probabilities_sum_to_one : \sum_a probability a = 1.
Proof. by rewrite -mulr_suml divff. Qed.

Theorem softmax_jacobian b a :
  D b (probability a) = probability a * ((a == b)%:R - probability b).
Proof.
rewrite /probability product_rule exponential (derivative_inverse (product_rule b) Z_nonzero).
rewrite derivative_normaliser mulrBr mulrN; congr (_ - _); first by rewrite -mulrA mulrC.
by rewrite expr2 invfM !mulrA -!mulrA; congr (_ * _); rewrite mulrCA.
Qed.

(* the Fisher matrix is the Jacobian of the softmax, so the Hessian of log Z *)
Theorem fisher_is_the_jacobian b c : fisher probability b c = D c (probability b).
Proof.
by rewrite (fisher_closed probabilities_sum_to_one) softmax_jacobian /delta mulrBr.
Qed.

End Softmax.

Section PolicyGradient.

Variables (K : fieldType) (D : {additive K -> K}).
Hypothesis product_rule : forall x y, D (x * y) = D x * y + x * D y.

Lemma derivative_product m n q (A : 'M[K]_(m, n)) (B : 'M_(n, q)) :
  map_mx D (A *m B) = map_mx D A *m B + A *m map_mx D B.
Proof.
apply/matrixP => i j; rewrite !mxE raddf_sum -big_split /=; apply: eq_bigr => k _.
by rewrite product_rule !mxE.
Qed.

Lemma derivative_identity n : map_mx D (1%:M : 'M[K]_n) = 0.
Proof.
apply/matrixP => i j; rewrite !mxE; case: (i == j) => /=.
  by rewrite mulr1n (derivative_one product_rule).
by rewrite mulr0n raddf0.
Qed.

Lemma derivative_inverse_matrix n (M : 'M[K]_n) :
  M \in unitmx -> map_mx D (invmx M) = - (invmx M *m map_mx D M *m invmx M).
Proof.
move=> unit; have := derivative_product (invmx M) M.
rewrite mulVmx // derivative_identity => /esym/eqP; rewrite addr_eq0 => /eqP solved.
have -> : map_mx D (invmx M) = map_mx D (invmx M) *m M *m invmx M by rewrite mulmxK.
by rewrite solved mulNmx.
Qed.

Variables (n : nat) (g : K) (P : 'M[K]_n) (r : 'cV[K]_n) (rho : 'rV[K]_n).
Hypothesis invertible : (1%:M - g *: P) \in unitmx.
Hypothesis discount_fixed : D g = 0.
Hypothesis start_fixed : map_mx D rho = 0.

Let value := invmx (1%:M - g *: P) *m r.
Let visits := rho *m invmx (1%:M - g *: P).

Lemma derivative_system : map_mx D (1%:M - g *: P) = - (g *: map_mx D P).
Proof.
apply/matrixP => i j; rewrite !mxE raddfB product_rule discount_fixed mul0r add0r.
by have /matrixP/(_ i j) := derivative_identity n; rewrite !mxE => ->; rewrite sub0r.
Qed.

(* with r = Pi R and P = Pi T: dr + g dP V = dPi (R + g T V) = dPi Q *)
Theorem policy_gradient :
  map_mx D (rho *m value) = visits *m (map_mx D r + g *: (map_mx D P *m value)).
Proof.
rewrite derivative_product start_fixed mul0mx add0r /value derivative_product.
rewrite derivative_inverse_matrix // derivative_system.
rewrite mulmxN mulNmx opprK -scalemxAr -!scalemxAl !mulmxDr addrC /visits !mulmxA.
by congr (_ + _); rewrite -!scalemxAr !mulmxA.
Qed.

End PolicyGradient.

Print Assumptions softmax_jacobian.
Print Assumptions fisher_is_the_jacobian.
Print Assumptions policy_gradient.
