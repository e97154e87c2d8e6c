/* Coefficients of elementary.h and elementary.c. Written by scripts/make-elementary-tables; do not edit.
 * An error "2^-k" is absolute and in the function's value (after the factor that the polynomial is multiplied with), for
 * the rounded coefficients in exact arithmetic. */
#ifndef VV_ELEMENTARY_TABLES_H
#define VV_ELEMENTARY_TABLES_H

/* clang-format off */

/* ln 2 = HI + LO. HI has 16 bits in float, 40 in double: its product with an exponent of the type is exact. */
#define VV_LN2F_HI 0x1.62e4p-1f
#define VV_LN2F_LO 0x1.7f7d1cp-20f
#define VV_LN2_HI 0x1.62e42fefa4p-1
#define VV_LN2_LO -0x1.8432a1b0e2634p-43
#define VV_LOG2EF 0x1.715476p+0f
#define VV_LOG2E 0x1.71547652b82fep+0

/* pi/2 = 1 + 2 + 3 + 4; the first three have 32 bits each, so that their products with n < 2^21 are exact. */
#define VV_PIO2_1 0x1.921fb544p+0
#define VV_PIO2_2 0x1.0b4611a6p-34
#define VV_PIO2_3 0x1.3198a2ep-69
#define VV_PIO2_4 0x1.b839a252049c1p-104
#define VV_2OPI 0x1.45f306dc9c883p-1

/* q of exp(r) = 1 + r + r^2 q(r)
 * for -0.3467 <= argument <= 0.3467: wrong by at most 2^-30.8. */
VV_ON_DEVICE static inline float vv_expf_q(float x)
{
    float p = 0x1.a1250cp-13f;
    p = p * x + 0x1.6d4342p-10f;
    p = p * x + 0x1.1110ep-7f;
    p = p * x + 0x1.5554e8p-5f;
    p = p * x + 0x1.555556p-3f;
    p = p * x + 0x1p-1f;
    return p;
}

/* q of exp(r) = 1 + r + r^2 q(r)
 * for -0.3467 <= argument <= 0.3467: wrong by at most 2^-61.6. */
VV_ON_DEVICE static inline double vv_exp_q(double x)
{
    double p = 0x1.1f73102e57f8bp-29;
    p = p * x + 0x1.af4e000e84be8p-26;
    p = p * x + 0x1.27e4db5e389d2p-22;
    p = p * x + 0x1.71de0226bd07ap-19;
    p = p * x + 0x1.a01a01a6da7e2p-16;
    p = p * x + 0x1.a01a01abeb69fp-13;
    p = p * x + 0x1.6c16c16c162d1p-10;
    p = p * x + 0x1.11111111100d5p-7;
    p = p * x + 0x1.5555555555556p-5;
    p = p * x + 0x1.5555555555557p-3;
    p = p * x + 0x1p-1;
    return p;
}

/* q of log((1+s)/(1-s)) = 2 s + s z q(z), z = s^2
 * for 0.0 <= argument <= 0.02954: wrong by at most 2^-62.2. */
VV_ON_DEVICE static inline double vv_log_q(double x)
{
    double p = 0x1.0c1cb43280392p-3;
    p = p * x + 0x1.0fbc2e88d2e3p-3;
    p = p * x + 0x1.3b1c4c5e49498p-3;
    p = p * x + 0x1.745cf8980ccaep-3;
    p = p * x + 0x1.c71c72025d7b3p-3;
    p = p * x + 0x1.2492492476397p-2;
    p = p * x + 0x1.9999999999a3bp-2;
    p = p * x + 0x1.5555555555555p-1;
    return p;
}

/* q of sin(r) = r + r z q(z), z = r^2
 * for 0.0 <= argument <= 0.617: wrong by at most 2^-57.6. */
VV_ON_DEVICE static inline double vv_sin_q(double x)
{
    double p = -0x1.ab179b6cecc84p-41;
    p = p * x + 0x1.61217eab7b761p-33;
    p = p * x + -0x1.ae6454124c34fp-26;
    p = p * x + 0x1.71de3a54604fep-19;
    p = p * x + -0x1.a01a01a019936p-13;
    p = p * x + 0x1.111111111111p-7;
    p = p * x + -0x1.5555555555555p-3;
    return p;
}

/* q of cos(r) = 1 - z/2 + z^2 q(z), z = r^2
 * for 0.0 <= argument <= 0.617: wrong by at most 2^-60.0. */
VV_ON_DEVICE static inline double vv_cos_q(double x)
{
    double p = 0x1.ab7828a8a66aap-45;
    p = p * x + -0x1.9394b9b76cd6p-37;
    p = p * x + 0x1.1eed8deb61c47p-29;
    p = p * x + -0x1.27e4fb7712b74p-22;
    p = p * x + 0x1.a01a01a019d09p-16;
    p = p * x + -0x1.6c16c16c16c16p-10;
    p = p * x + 0x1.5555555555555p-5;
    return p;
}

/* q of tanh(x) = x + x z q(z), z = x^2
 * for 0.0 <= argument <= 0.4727: wrong by at most 2^-57.4. */
VV_ON_DEVICE static inline double vv_tanh_q(double x)
{
    double p = -0x1.0e54593160746p-19;
    p = p * x + 0x1.766241ac1abf1p-17;
    p = p * x + -0x1.2d79bb05d9f83p-15;
    p = p * x + 0x1.8fd5968d70be1p-14;
    p = p * x + -0x1.f46514d746a0cp-13;
    p = p * x + 0x1.354815e73e585p-11;
    p = p * x + -0x1.7da21f3e4fa76p-10;
    p = p * x + 0x1.d6d3bf8d71f2fp-9;
    p = p * x + -0x1.226e3512381cfp-7;
    p = p * x + 0x1.664f488130e6dp-6;
    p = p * x + -0x1.ba1ba1ba175b1p-5;
    p = p * x + 0x1.11111111110ecp-3;
    p = p * x + -0x1.5555555555555p-2;
    return p;
}

/* q of erf(x) = x + x q(z), z = x^2
 * for 0.0 <= argument <= 0.5625: wrong by at most 2^-57.7. */
VV_ON_DEVICE static inline double vv_erf_q(double x)
{
    double p = 0x1.3fda42ac13d26p-34;
    p = p * x + -0x1.48b588d516d45p-30;
    p = p * x + 0x1.fbb883616d4a1p-27;
    p = p * x + -0x1.5f6a1cb9cac3bp-23;
    p = p * x + 0x1.b9e646f15d72p-20;
    p = p * x + -0x1.f4d257aadcd6fp-17;
    p = p * x + 0x1.f9a326ddab89bp-14;
    p = p * x + -0x1.c02db3ffcd5edp-11;
    p = p * x + 0x1.565bcd0e69235p-8;
    p = p * x + -0x1.b82ce31288b15p-6;
    p = p * x + 0x1.ce2f21a042be1p-4;
    p = p * x + -0x1.812746b0379e7p-2;
    p = p * x + 0x1.06eba8214db69p-3;
    return p;
}

/* R(1) = HI + LO for R(x) = exp(x^2) (1 - erf(x)). */
#define VV_ERFC_HI 0x1.b5d8780f956b2p-2
#define VV_ERFC_LO 0x1.825447f231a67p-58

/* q of R(x) = R(1) + u q(u), u = (x - 1) / (x + 3); 3/4 <= x <= 6; the error is that in exp(-x^2) R(x)
 * for -0.06667 <= argument <= 0.5556: wrong by at most 2^-59.5. */
VV_ON_DEVICE static inline double vv_erfc_q(double x)
{
    double p = -0x1.9a9d1b6cfe365p-14;
    p = p * x + 0x1.d4449a601fcc4p-12;
    p = p * x + -0x1.2164ed909da16p-11;
    p = p * x + -0x1.9c73dc2ea47c7p-13;
    p = p * x + 0x1.24ebdc1e33611p-14;
    p = p * x + 0x1.049f3259cdb88p-9;
    p = p * x + 0x1.716cacfbf0fc7p-12;
    p = p * x + -0x1.14137e8552a93p-7;
    p = p * x + -0x1.1cc68e78d3ac9p-9;
    p = p * x + 0x1.5d50262b0c06dp-5;
    p = p * x + -0x1.6e89053693eecp-6;
    p = p * x + -0x1.caa4a292347f6p-3;
    p = p * x + 0x1.72a5350ca8b32p-1;
    p = p * x + -0x1.39364124ccc4fp+0;
    p = p * x + 0x1.60896c86e993dp+0;
    p = p * x + -0x1.17c4e3f17c05p+0;
    return p;
}

/* clang-format on */

#endif
