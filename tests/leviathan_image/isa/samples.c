// One function for each x86 feature that clang 19 knows: f_<feature> holds at least one instruction that only this
// feature allows. The isa check must name the feature in each of them, and in none but the baseline's under x86-64.
// f_base_* are the controls: what every x86-64 CPU has.
#include <immintrin.h>
#include <x86intrin.h>
#include <cetintrin.h>

#define F(feature, flags) __attribute__((noinline, target(flags)))

typedef unsigned long long u64;

// The controls.
float f_base_sse2(float *a) { return a[0] * a[1] + __builtin_sqrtf(a[2]); }
long f_base_cmov(long a, long b) { return a < b ? a : b; }
void f_base_nop(void) { __asm__ volatile("nopw %cs:512(%rax,%rax)\n endbr64\n pause\n rdsspq %rax\n"); }
void f_base_fxsr(void *p) { _fxsave64(p); }
long double f_base_x87(long double a) { return a * a; }
u64 f_base_rep(u64 *p, long n) { __asm__ volatile("rep stosq" : "+D"(p), "+c"(n) : "a"(0) : "memory"); return *p; }
int f_base_lock(int *p) { return __atomic_fetch_add(p, 1, __ATOMIC_SEQ_CST); }
unsigned f_base_cpuid(void) { unsigned a = 0; __asm__ volatile("cpuid\n rdtsc" : "+a"(a)::"ebx", "ecx", "edx"); return a; }
void f_base_prefetch(char *p) { _mm_prefetch(p, _MM_HINT_T0); _mm_clflush(p); _mm_mfence(); }

// SSE after the baseline.
F(sse3, "sse3") __m128 f_sse3(__m128 a) { return _mm_hadd_ps(a, a); }
F(ssse3, "ssse3") __m128i f_ssse3(__m128i a) { return _mm_shuffle_epi8(a, a); }
F(sse4_1, "sse4.1") __m128i f_sse4_1(__m128i a) { return _mm_mullo_epi32(a, a); }
F(sse4_2, "sse4.2") __m128i f_sse4_2(__m128i a, __m128i b) { return _mm_cmpgt_epi64(a, b); }
F(crc32, "crc32") unsigned f_crc32(unsigned a) { return __builtin_ia32_crc32si(a, a); }
F(sse4a, "sse4a") __m128i f_sse4a(__m128i a) { return _mm_extract_si64(a, a); }
F(popcnt, "popcnt") long f_popcnt(u64 a) { return _mm_popcnt_u64(a); }
F(cx16, "cx16") void f_cx16(void) { __asm__ volatile("lock cmpxchg16b (%rdi)"); }
F(sahf, "sahf") void f_sahf(void) { __asm__ volatile("lahf\n sahf" ::: "ax", "cc"); }

// General-purpose extensions.
F(adx, "adx") unsigned char f_adx(u64 a, u64 *p) {
  unsigned char c;
  __asm__ volatile("adcxq %1, %0\n adoxq %1, %0" : "+r"(a) : "r"(a));
  c = (unsigned char)a;
  *p = a;
  return c;
}
F(bmi, "bmi") u64 f_bmi(u64 a, u64 b) { return __andn_u64(a, b); }
F(bmi2, "bmi2") u64 f_bmi2(u64 a, u64 b) { return _pdep_u64(a, b); }
F(lzcnt, "lzcnt") u64 f_lzcnt(u64 a) { return _lzcnt_u64(a); }
F(movbe, "movbe") int f_movbe(void const *p) { return _loadbe_i32(p); }
F(tbm, "tbm") u64 f_tbm(u64 a) { return __blcfill_u64(a); }
F(lwp, "lwp") void f_lwp(void *p) { __llwpcb(p); }
F(rdrnd, "rdrnd") int f_rdrnd(u64 *p) { return _rdrand64_step(p); }
F(rdseed, "rdseed") int f_rdseed(u64 *p) { return _rdseed64_step(p); }
F(rdpid, "rdpid") unsigned f_rdpid(void) { return _rdpid_u32(); }
F(rdpru, "rdpru") u64 f_rdpru(void) { return __rdpru(0); }
F(fsgsbase, "fsgsbase") u64 f_fsgsbase(void) { return _readfsbase_u64(); }
F(ptwrite, "ptwrite") void f_ptwrite(u64 a) { _ptwrite64(a); }
F(pku, "pku") unsigned f_pku(void) { return _rdpkru_u32(); }
F(invpcid, "invpcid") void f_invpcid(void *p) { _invpcid(0, p); }
F(serialize, "serialize") void f_serialize(void) { _serialize(); }
F(pconfig, "pconfig") unsigned f_pconfig(unsigned long *p) { return _pconfig_u32(0, p); }
F(sgx, "sgx") unsigned f_sgx(unsigned long *p) { return _enclu_u32(0, p); }
F(shstk, "shstk") void f_shstk(void) { _incsspq(1); }
F(rtm, "rtm") unsigned f_rtm(void) { return _xbegin(); }
F(tsxldtrk, "tsxldtrk") void f_tsxldtrk(void) { _xsusldtrk(); }
F(hreset, "hreset") void f_hreset(void) { _hreset(1); }
F(uintr, "uintr") void f_uintr(void) { _clui(); }
F(usermsr, "usermsr") u64 f_usermsr(u64 a) { return _urdmsr(a); }
F(waitpkg, "waitpkg") unsigned char f_waitpkg(void) { return _tpause(0, 1); }
F(mwaitx, "mwaitx") void f_mwaitx(void *p) { _mm_monitorx(p, 0, 0); }
F(raoint, "raoint") void f_raoint(int *p) { _aadd_i32(p, 1); }
F(cmpccxadd, "cmpccxadd") int f_cmpccxadd(int *p) { return _cmpccxadd_epi32(p, 1, 2, _CMPCCX_B); }
F(enqcmd, "enqcmd") int f_enqcmd(void *p) { return _enqcmd(p, p); }
F(movdiri, "movdiri") void f_movdiri(void *p) { _directstoreu_u32(p, 1); }
F(movdir64b, "movdir64b") void f_movdir64b(void *p) { _movdir64b(p, p); }

// Caches and state.
F(cldemote, "cldemote") void f_cldemote(void *p) { _cldemote(p); }
F(clflushopt, "clflushopt") void f_clflushopt(void *p) { _mm_clflushopt(p); }
F(clwb, "clwb") void f_clwb(void *p) { _mm_clwb(p); }
F(clzero, "clzero") void f_clzero(void *p) { _mm_clzero(p); }
F(wbnoinvd, "wbnoinvd") void f_wbnoinvd(void) { _wbnoinvd(); }
F(prfchw, "prfchw") void f_prfchw(void *p) { _m_prefetchw(p); }
F(prefetchi, "prefetchi") void f_prefetchi(void) { __asm__ volatile("prefetchit0 f_base_nop(%rip)"); }
F(xsave, "xsave") void f_xsave(void *p) { _xsave64(p, 1); }
F(xsaveopt, "xsaveopt") void f_xsaveopt(void *p) { _xsaveopt64(p, 1); }
F(xsavec, "xsavec") void f_xsavec(void *p) { _xsavec64(p, 1); }
F(xsaves, "xsaves") void f_xsaves(void *p) { _xsaves64(p, 1); }

// Cryptography.
F(aes, "aes") __m128i f_aes(__m128i a) { return _mm_aesenc_si128(a, a); }
F(pclmul, "pclmul") __m128i f_pclmul(__m128i a) { return _mm_clmulepi64_si128(a, a, 0); }
F(sha, "sha") __m128i f_sha(__m128i a) { return _mm_sha256msg1_epu32(a, a); }
F(gfni, "gfni") __m128i f_gfni(__m128i a) { return _mm_gf2p8mul_epi8(a, a); }
F(vaes, "avx2,vaes") __m256i f_vaes(__m256i a) { return _mm256_aesenc_epi128(a, a); }
F(vpclmulqdq, "avx2,vpclmulqdq") __m256i f_vpclmulqdq(__m256i a) { return _mm256_clmulepi64_epi128(a, a, 0); }
F(sha512, "avx2,sha512") __m256i f_sha512(__m256i a, __m128i b) { return _mm256_sha512msg1_epi64(a, b); }
F(sm3, "avx,sm3") __m128i f_sm3(__m128i a) { return _mm_sm3msg1_epi32(a, a, a); }
F(sm4, "avx,sm4") __m128i f_sm4(__m128i a) { return _mm_sm4key4_epi32(a, a); }
F(kl, "kl") void f_kl(__m128i a) { _mm_loadiwkey(0, a, a, a); }
F(widekl, "widekl") unsigned char f_widekl(__m128i *p) { return _mm_aesencwide128kl_u8(p, p, p); }

// AVX.
F(avx, "avx") __m256 f_avx(__m256 a) { return _mm256_add_ps(a, a); }
F(f16c, "f16c") __m128 f_f16c(__m128i a) { return _mm_cvtph_ps(a); }
F(fma, "fma") __m256 f_fma(__m256 a) { return _mm256_fmadd_ps(a, a, a); }
F(fma4, "fma4") __m128 f_fma4(__m128 a) { return _mm_macc_ps(a, a, a); }
F(xop, "xop") __m128i f_xop(__m128i a) { return _mm_rot_epi32(a, a); }
F(avx2, "avx2") __m256i f_avx2(__m256i a) { return _mm256_add_epi32(a, a); }
F(avxvnni, "avxvnni") __m256i f_avxvnni(__m256i a) { return _mm256_dpbusd_avx_epi32(a, a, a); }
F(avxvnniint8, "avxvnniint8") __m256i f_avxvnniint8(__m256i a) { return _mm256_dpbssd_epi32(a, a, a); }
F(avxvnniint16, "avxvnniint16") __m256i f_avxvnniint16(__m256i a) { return _mm256_dpwusd_epi32(a, a, a); }
F(avxifma, "avxifma") __m256i f_avxifma(__m256i a) { return _mm256_madd52hi_avx_epu64(a, a, a); }
F(avxneconvert, "avxneconvert") __m256 f_avxneconvert(void *p) { return _mm256_bcstnebf16_ps(p); }

// AVX-512.
F(avx512f, "avx512f") __m512 f_avx512f(__m512 a) { return _mm512_add_ps(a, a); }
F(avx512vl, "avx512f,avx512vl") __m256i f_avx512vl(__m256i a, __m256i b) { return _mm256_ternarylogic_epi32(a, b, a, 7); }
F(avx512bw, "avx512bw") __m512i f_avx512bw(__m512i a) { return _mm512_add_epi8(a, a); }
F(avx512dq, "avx512dq") __m512i f_avx512dq(__m512i a) { return _mm512_mullo_epi64(a, a); }
F(avx512cd, "avx512cd") __m512i f_avx512cd(__m512i a) { return _mm512_conflict_epi32(a); }
F(avx512ifma, "avx512ifma") __m512i f_avx512ifma(__m512i a) { return _mm512_madd52hi_epu64(a, a, a); }
F(avx512vbmi, "avx512vbmi") __m512i f_avx512vbmi(__m512i a) { return _mm512_permutexvar_epi8(a, a); }
F(avx512vbmi2, "avx512vbmi2") __m512i f_avx512vbmi2(__m512i a) { return _mm512_shldv_epi16(a, a, a); }
F(avx512vnni, "avx512vnni") __m512i f_avx512vnni(__m512i a) { return _mm512_dpbusd_epi32(a, a, a); }
F(avx512bitalg, "avx512bitalg") __m512i f_avx512bitalg(__m512i a) { return _mm512_popcnt_epi8(a); }
F(avx512vpopcntdq, "avx512vpopcntdq") __m512i f_avx512vpopcntdq(__m512i a) { return _mm512_popcnt_epi32(a); }
F(avx512bf16, "avx512bf16") __m512 f_avx512bf16(__m512 a, __m512bh b) { return _mm512_dpbf16_ps(a, b, b); }
F(avx512fp16, "avx512fp16") __m512h f_avx512fp16(__m512h a) { return _mm512_add_ph(a, a); }
F(avx512vp2intersect, "avx512vp2intersect") void f_avx512vp2intersect(__m512i a, __mmask16 *p) {
  _mm512_2intersect_epi32(a, a, p, p + 1);
}
// Wider features in their short forms: the length needs avx512vl besides.
F(avx512vnni, "avx512vl,avx512vnni") __m128i f_avx512vnni_vl(__m128i a) { return _mm_dpbusd_epi32(a, a, a); }
F(avx512bf16, "avx512vl,avx512bf16") __m128 f_avx512bf16_vl(__m128 a, __m128bh b) { return _mm_dpbf16_ps(a, b, b); }

// AMX.
F(amx_tile, "amx-tile") void f_amx_tile(void *p) { _tile_loadconfig(p); }
F(amx_int8, "amx-int8") void f_amx_int8(void) { _tile_dpbssd(0, 1, 2); }
F(amx_bf16, "amx-bf16") void f_amx_bf16(void) { _tile_dpbf16ps(0, 1, 2); }
F(amx_fp16, "amx-fp16") void f_amx_fp16(void) { _tile_dpfp16ps(0, 1, 2); }
F(amx_complex, "amx-complex") void f_amx_complex(void) { _tile_cmmimfp16ps(0, 1, 2); }

// APX, whose parts have no intrinsics: registers, new data destinations, flags kept, conditions, pairs.
void f_egpr(void) { __asm__ volatile("movq %r16, %rax"); }
void f_ndd(void) { __asm__ volatile("addq %rax, %rbx, %rcx"); }
void f_nf(void) { __asm__ volatile("{nf} addq %rax, %rbx"); }
void f_zu(void) { __asm__ volatile("setzune %al"); }
void f_ccmp(void) { __asm__ volatile("ccmpneq {dfv=} %rax, %rbx"); }
void f_cf(void) { __asm__ volatile("cfcmovneq %rax, %rbx"); }
void f_push2pop2(void) { __asm__ volatile("push2 %rax, %rbx\n pop2 %rbx, %rax"); }
void f_ppx(void) { __asm__ volatile("pushp %rax\n popp %rax"); }

// EVEX without its registers, masks or length: only the encoding gives it away.
void f_evex_hidden(void) { __asm__ volatile("{evex} vaddps %xmm1, %xmm2, %xmm3"); }
