/* Clicksmith's kernels: embedding rows, their optimisers, and the element-wise part of dense layers.
 *
 * Plain C with a C ABI, called through ctypes; it knows neither Python nor torch. Compiled once per instruction level.
 * Rules that hold everywhere:
 *   - work is cut into blocks that do not depend on the number of threads, and sums are combined in block order, so
 *     results have the same bits for any number of threads;
 *   - row numbers are 64 bits wide, -1 means "padding: leave out";
 *   - `half` says whether a tensor is bfloat16 (1) or float (0); all arithmetic is in float.
 */
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

#define EXPORT __attribute__((visibility("default")))
#define INLINE static inline __attribute__((always_inline))
#define MIN(a, b) ((a) < (b) ? (a) : (b))
#define MAX(a, b) ((a) > (b) ? (a) : (b))
#define BLOCKS 64

/* ---- vectors: the widest of the instruction level ------------------------------------------------------------ */
#if defined(__AVX512F__)
#define W 16
#elif defined(__AVX2__)
#define W 8
#else
#define W 4
#endif
typedef float vf __attribute__((vector_size(4 * W)));
typedef int32_t vi __attribute__((vector_size(4 * W)));
typedef uint32_t vu __attribute__((vector_size(4 * W)));
typedef uint16_t vh __attribute__((vector_size(2 * W)));
typedef float vf_any __attribute__((vector_size(4 * W), aligned(4), may_alias));
typedef uint16_t vh_any __attribute__((vector_size(2 * W), aligned(2), may_alias));

INLINE vf all(float x) { return x - (vf){0}; }
INLINE vf widen(vh h) {
#if W == 16
  return (vf)_mm512_slli_epi32(_mm512_cvtepu16_epi32((__m256i)h), 16);
#else
  return (vf)(__builtin_convertvector(h, vu) << 16);
#endif
}
INLINE vh narrow(vf x) { /* round to nearest even; NaN stays NaN */
#if W == 16 && defined(__AVX512BF16__)
  return (vh)_mm512_cvtneps_pbh((__m512)x);
#endif
  vu u = (vu)x, rounded = (u + 0x7fff + ((u >> 16) & 1)) >> 16;
  vi nan = x != x;
  return __builtin_convertvector((rounded & ~(vu)nan) | ((vu)nan & 0x7fc0), vh);
}
INLINE vf root(vf x) {
#if W == 16
  return (vf)_mm512_sqrt_ps((__m512)x);
#elif W == 8
  return (vf)_mm256_sqrt_ps((__m256)x);
#else
  for (int i = 0; i < W; i++) x[i] = sqrtf(x[i]);
  return x;
#endif
}

INLINE vf larger(vf x, vf y) {
#if W == 16
  return (vf)_mm512_max_ps((__m512)x, (__m512)y);
#elif W == 8
  return (vf)_mm256_max_ps((__m256)x, (__m256)y);
#else
  vi first = x > y;
  return (vf)(((vi)x & first) | ((vi)y & ~first));
#endif
}
INLINE vu lane_numbers(void) {
  vu x;
  for (int l = 0; l < W; l++) x[l] = (uint32_t)l;
  return x;
}
/* The lower (upper) halves of two vectors, interleaved. */
#if defined(__clang__)
#define PICK(x, y, ...) __builtin_shufflevector(x, y, __VA_ARGS__)
#else
#define PICK(x, y, ...) __builtin_shuffle(x, y, (vi){__VA_ARGS__})
#endif
#if W == 16
#define LOWER(x, y) PICK(x, y, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23)
#define UPPER(x, y) PICK(x, y, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31)
#elif W == 8
#define LOWER(x, y) PICK(x, y, 0, 8, 1, 9, 2, 10, 3, 11)
#define UPPER(x, y) PICK(x, y, 4, 12, 5, 13, 6, 14, 7, 15)
#else
#define LOWER(x, y) PICK(x, y, 0, 4, 1, 5)
#define UPPER(x, y) PICK(x, y, 2, 6, 3, 7)
#endif

/* Load and store n <= W values; lanes past n read as zero. */
#if W == 8
static const int32_t FIRST_LANES[2 * W] = {-1, -1, -1, -1, -1, -1, -1, -1};
#endif
INLINE vf get(const void *base, int64_t at, int64_t n, int half) {
  if (half) {
    const uint16_t *p = (const uint16_t *)base + at;
    if (n >= W) return widen(*(const vh_any *)p);
#if W == 16
    return widen((vh)_mm256_maskz_loadu_epi16((__mmask16)((1u << n) - 1), p));
#else
    vh h = {0};
    for (int64_t i = 0; i < n; i++) h[i] = p[i];
    return widen(h);
#endif
  }
  const float *p = (const float *)base + at;
  if (n >= W) return *(const vf_any *)p;
#if W == 16
  return (vf)_mm512_maskz_loadu_ps((__mmask16)((1u << n) - 1), p);
#elif W == 8
  return (vf)_mm256_maskload_ps(p, _mm256_loadu_si256((const __m256i *)(FIRST_LANES + W - n)));
#else
  vf v = {0};
  for (int64_t i = 0; i < n; i++) v[i] = p[i];
  return v;
#endif
}
INLINE void put(void *base, int64_t at, int64_t n, int half, vf x) {
  if (half) {
    uint16_t *p = (uint16_t *)base + at;
    vh h = narrow(x);
    if (n >= W) { *(vh_any *)p = h; return; }
#if W == 16
    _mm256_mask_storeu_epi16(p, (__mmask16)((1u << n) - 1), (__m256i)h);
#else
    for (int64_t i = 0; i < n; i++) p[i] = h[i];
#endif
    return;
  }
  float *p = (float *)base + at;
  if (n >= W) { *(vf_any *)p = x; return; }
#if W == 16
  _mm512_mask_storeu_ps(p, (__mmask16)((1u << n) - 1), (__m512)x);
#else
  for (int64_t i = 0; i < n; i++) p[i] = x[i];
#endif
}
#define LANES(j, n) for (int64_t j = 0, k; k = MIN((n) - j, W), j < (n); j += W)

/* ---- threads -------------------------------------------------------------------------------------------------- */
typedef void block_fn(const void *args, int64_t block);
static void run(block_fn *fn, const void *args, int64_t blocks, int threads) {
#if defined(_OPENMP)
  if (threads > 1 && blocks > 1) {
#pragma omp parallel for schedule(dynamic, 1) num_threads(threads)
    for (int64_t b = 0; b < blocks; b++) fn(args, b);
    return;
  }
#endif
  for (int64_t b = 0; b < blocks; b++) fn(args, b);
}
/* Block b of n things cut into `blocks` pieces: [first, last). */
#define SPAN(n, b, blocks) int64_t first = (n) * (b) / (blocks), last = (n) * ((b) + 1) / (blocks)

INLINE uint64_t mix(uint64_t x) {
  x ^= x >> 32;
  x *= 0x9E3779B97F4A7C15ull;
  return x ^ (x >> 29);
}

EXPORT int64_t cs_version(void) { return 11; }

/* ---- rows: look up, number, merge ----------------------------------------------------------------------------- */
typedef struct {
  const float *weight; const int32_t *ids; const int64_t *offsets; void *out; int64_t *rows;
  int64_t n, columns, dim, total, stride, lead; int half; int *bad;
} lookup_args;

INLINE void lookup_span(const lookup_args *a, int64_t first, int64_t last, int half) {
  int64_t dim = a->dim, columns = a->columns, end = a->n * columns, distance = (15 + columns) / columns * columns;
  for (int64_t i = first; i < last; i++)
    for (int64_t c = 0; c < columns; c++) {
      int64_t at = i * columns + c, ahead = at + distance, row = a->offsets[c] + a->ids[at];
      if (ahead < end) __builtin_prefetch(a->weight + (a->offsets[c] + a->ids[ahead]) * dim);
      if (a->ids[at] < 0 || row >= a->total) { *a->bad = 1; continue; }
      const float *from = a->weight + row * dim;
      int64_t to = i * a->stride + a->lead + c * dim;
      LANES(j, dim) put(a->out, to + j, k, half, get(from, j, k, 0));
    }
}
static void lookup_block(const void *args, int64_t b) {
  const lookup_args *a = args;
  SPAN(a->n, b, BLOCKS);
  if (a->half) lookup_span(a, first, last, 1); else lookup_span(a, first, last, 0);
}
/* out[i, lead + c * dim ...] = weight[offsets[c] + ids[i, c]]; returns 1 if an id is outside the table. */
EXPORT int cs_lookup(const float *weight, const int32_t *ids, const int64_t *offsets, void *out, int64_t n, int64_t columns,
                     int64_t dim, int64_t total, int64_t stride, int64_t lead, int half, int threads) {
  int bad = 0;
  lookup_args a = {weight, ids, offsets, out, 0, n, columns, dim, total, stride, lead, half, &bad};
  run(lookup_block, &a, BLOCKS, threads);
  return bad;
}

static void number_block(const void *args, int64_t b) {
  const lookup_args *a = args;
  SPAN(a->n, b, BLOCKS);
  for (int64_t i = first; i < last; i++)
    for (int64_t c = 0; c < a->columns; c++) {
      int64_t at = i * a->columns + c;
      a->rows[at] = a->ids[at] ? a->offsets[c] + a->ids[at] : -1;
    }
}
/* rows[i, c] = offsets[c] + ids[i, c], or -1 for padding. */
EXPORT void cs_number(const int32_t *ids, const int64_t *offsets, int64_t *rows, int64_t n, int64_t columns, int threads) {
  lookup_args a = {.ids = ids, .offsets = offsets, .rows = rows, .n = n, .columns = columns};
  run(number_block, &a, BLOCKS, threads);
}

#define PARTS 64 /* merge: rows are dealt to parts by their hash; a part merges its own rows in order of position */
typedef struct {
  const int64_t *rows; const void *grad; int64_t *out_rows; float *out_grad; int64_t n, dim, columns, stride; int half;
  uint32_t *order; int64_t *dealt, (*count)[PARTS], *start, *found;
} merge_args;

INLINE int64_t grad_of(const merge_args *a, uint32_t at) { /* gradient of position `at`: rows of `columns` vectors, `stride` apart */
  return a->columns == 1 ? at * a->stride : (int64_t)(at / (uint32_t)a->columns) * a->stride + (int64_t)(at % (uint32_t)a->columns) * a->dim;
}
INLINE int part_of(int64_t row) { return (int)(mix((uint64_t)row) >> 58); }

static void merge_count(const void *args, int64_t b) {
  const merge_args *a = args;
  SPAN(a->n, b, BLOCKS);
  for (int64_t i = first; i < last; i++) if (a->rows[i] >= 0) a->count[b][part_of(a->rows[i])]++;
}
static void merge_deal(const void *args, int64_t b) {
  const merge_args *a = args;
  SPAN(a->n, b, BLOCKS);
  for (int64_t i = first; i < last; i++) {
    if (a->rows[i] < 0) continue;
    int64_t to = a->count[b][part_of(a->rows[i])]++;
    a->order[to] = (uint32_t)i;
    a->dealt[to] = a->rows[i];
  }
}
INLINE void merge_part(const merge_args *a, int64_t p, int half) {
  int64_t base = a->start[p], n = a->start[p + 1] - base, dim = a->dim, size = 16, found = 0;
  const uint32_t *order = a->order + base;
  const int64_t *dealt = a->dealt + base;
  int64_t *out_rows = a->out_rows + base;
  float *out = a->out_grad + base * dim;
  while (size < 2 * n) size *= 2;
  int32_t *table = malloc((size_t)size * sizeof *table);
  memset(table, 0xff, (size_t)size * sizeof *table);
  int64_t bytes = half ? 2 : 4;
  for (int64_t i = 0; i < n; i++) {
    if (i + 16 < n) __builtin_prefetch((const char *)a->grad + grad_of(a, order[i + 16]) * bytes);
    int64_t from = grad_of(a, order[i]), row = dealt[i], slot = (int64_t)(mix((uint64_t)row) >> 8) & (size - 1);
    while (table[slot] >= 0 && out_rows[table[slot]] != row) slot = (slot + 1) & (size - 1);
    if (table[slot] < 0) {
      table[slot] = (int32_t)found;
      out_rows[found] = row;
      LANES(j, dim) put(out, found * dim + j, k, 0, get(a->grad, from + j, k, half));
      found++;
    } else {
      int64_t to = (int64_t)table[slot] * dim;
      LANES(j, dim) put(out, to + j, k, 0, get(out, to + j, k, 0) + get(a->grad, from + j, k, half));
    }
  }
  free(table);
  a->found[p] = found;
}
static void merge_block(const void *args, int64_t p) {
  const merge_args *a = args;
  if (a->half) merge_part(a, p, 1); else merge_part(a, p, 0);
}
static void merge_pack(const void *args, int64_t p) { /* parts are moved together by the caller; here only the gaps */
  const merge_args *a = args;
  for (int64_t i = a->start[p] + a->found[p]; i < a->start[p + 1]; i++) a->out_rows[i] = -1;
}
/* Sum gradients of equal rows; grad is [n / columns, columns, dim], its first axis `stride` apart. Gives out_rows[n] (-1 in gaps) and out_grad[n, dim]. Returns the positions used, -1 if out of memory. */
EXPORT int64_t cs_merge(const int64_t *rows, const void *grad, int64_t *out_rows, float *out_grad, int64_t n, int64_t dim,
                        int64_t columns, int64_t stride, int half, int threads) {
  int64_t start[PARTS + 1], found[PARTS], (*count)[PARTS] = calloc(BLOCKS, sizeof *count), at = 0;
  int64_t *dealt = malloc((size_t)(n + 1) * (sizeof *dealt + sizeof(uint32_t)));
  if (!count || !dealt) { free(count); free(dealt); return -1; }
  uint32_t *order = (uint32_t *)(dealt + n + 1);
  merge_args a = {rows, grad, out_rows, out_grad, n, dim, columns, stride, half, order, dealt, count, start, found};
  run(merge_count, &a, BLOCKS, threads);
  for (int p = 0; p < PARTS; p++) {
    start[p] = at;
    for (int b = 0; b < BLOCKS; b++) { int64_t c = count[b][p]; count[b][p] = at; at += c; }
  }
  start[PARTS] = at;
  run(merge_deal, &a, BLOCKS, threads);
  run(merge_block, &a, PARTS, threads);
  run(merge_pack, &a, PARTS, threads);
  free(count);
  free(dealt);
  return at;
}

/* ---- rows of several widths: a table whose ids lie in pieces, those of one width in one store ------------------- */
typedef struct { /* all int64 but `bounds` and `columns`; the global row of an id is its number + shift[its piece] */
  const int32_t *bounds;  /* [most, slots]: where the blocks of a slot begin, rising, and beyond every id */
  const int64_t *piece;   /* [most + 1, slots]: the piece of a block, -1 where it has no columns; row 0 is padding */
  const int64_t *sizes;   /* [slots]: ids */
  const int64_t *shift, *store, *begin; /* [pieces]; `begin` is the first global row, rising */
  const int32_t *columns; /* [pieces, dim]: where the numbers of a vector stand; only the first `width` count */
  const int64_t *prefix;  /* [pieces]: whether these are 0 .. width - 1 */
  const int64_t *width, *first; /* [stores], and [stores + 1]: the first global row */
  int64_t slots, most, pieces, stores, dim;
} mixed;
typedef struct {
  const mixed *m; const int32_t *ids; const int64_t *own, *weights; int64_t *rows; int32_t *found; void *out; int64_t n, columns; int half, *bad;
  const int64_t *from; const float *grad; float *out_grad; int64_t (*count)[BLOCKS], *start, *lead;
} mixed_args;

static void mixed_rows_block(const void *args, int64_t b) {
  const mixed_args *a = args;
  const mixed *m = a->m;
  SPAN(a->n, b, BLOCKS);
  for (int64_t i = first; i < last; i++)
    for (int64_t c = 0; c < a->columns; c++) {
      int64_t at = i * a->columns + c, s = a->own[c], block = 0, id = a->ids[at];
      if (id < 0 || id >= m->sizes[s]) { *a->bad = 1; id = 0; }
      while (block < m->most && id >= m->bounds[block * m->slots + s]) block++;
      int64_t piece = m->piece[block * m->slots + s];
      a->found[at] = (int32_t)piece;
      a->rows[at] = piece < 0 ? -1 : id + m->shift[piece];
    }
}
/* The global row (-1: none) and the piece of every id; own[c] is the slot of column c. Returns 1 if an id is not in its slot. */
EXPORT int cs_mixed_rows(const void *m, const int32_t *ids, const int64_t *own, int64_t *rows, int32_t *found, int64_t n, int64_t columns,
                         int threads) {
  int bad = 0;
  mixed_args a = {.m = m, .ids = ids, .own = own, .rows = rows, .found = found, .n = n, .columns = columns, .bad = &bad};
  run(mixed_rows_block, &a, BLOCKS, threads);
  return bad;
}

INLINE void mixed_span(const mixed_args *a, int64_t first, int64_t last, int half) {
  const mixed *m = a->m;
  int64_t dim = m->dim;
  float line[dim];
  for (int64_t i = first; i < last; i++) {
    int64_t piece = a->found[i], to = i * dim;
    if (piece < 0) { LANES(j, dim) put(a->out, to + j, k, half, all(0)); continue; }
    int64_t store = m->store[piece], width = m->width[store];
    const float *from = (const float *)a->weights[store] + (a->rows[i] - m->first[store]) * width;
    if (!m->prefix[piece]) {
      const int32_t *columns = m->columns + piece * dim;
      memset(line, 0, sizeof line);
      for (int64_t j = 0; j < width; j++) line[columns[j]] = from[j];
      from = line, width = dim;
    }
    LANES(j, dim) put(a->out, to + j, k, half, j < width ? get(from, j, MIN(width - j, W), 0) : all(0));
  }
}
static void mixed_block(const void *args, int64_t b) {
  const mixed_args *a = args;
  SPAN(a->n, b, BLOCKS);
  if (a->half) mixed_span(a, first, last, 1); else mixed_span(a, first, last, 0);
}
/* out[i] = the vector at rows[i], in its columns, the others 0; weights[store] is the address of a store's numbers. */
EXPORT void cs_mixed_gather(const void *m, const int64_t *weights, const int64_t *rows, const int32_t *found, void *out, int64_t n, int half,
                            int threads) {
  mixed_args a = {.m = m, .weights = weights, .rows = (int64_t *)rows, .found = (int32_t *)found, .out = out, .n = n, .half = half};
  run(mixed_block, &a, BLOCKS, threads);
}

INLINE int64_t place_in(const int64_t *begins, int64_t n, int64_t row) { /* the last of n rising numbers that row reaches */
  int64_t low = 0;
  for (int64_t half; half = n / 2, half > 0; n -= half) low += begins[low + half] <= row ? half : 0;
  return low;
}
static void mixed_count(const void *args, int64_t b) {
  const mixed_args *a = args;
  SPAN(a->n, b, BLOCKS);
  for (int64_t i = first; i < last; i++) {
    if (a->from[i] < 0) continue;
    a->found[i] = (int32_t)place_in(a->m->begin, a->m->pieces, a->from[i]);
    a->count[a->m->store[a->found[i]]][b]++;
  }
}
static void mixed_deal(const void *args, int64_t b) {
  const mixed_args *a = args;
  const mixed *m = a->m;
  SPAN(a->n, b, BLOCKS);
  for (int64_t i = first; i < last; i++) {
    if (a->from[i] < 0) continue;
    int64_t piece = a->found[i], store = m->store[piece], to = a->count[store][b]++, width = m->width[store];
    a->rows[to] = a->from[i] - m->first[store];
    if (!a->grad) continue;
    float *out = a->out_grad + a->lead[store] + (to - a->start[store]) * width;
    const float *grad = a->grad + i * m->dim;
    if (m->prefix[piece]) { LANES(j, width) put(out, j, k, 0, get(grad, j, k, 0)); continue; }
    for (int64_t j = 0; j < width; j++) out[j] = grad[m->columns[piece * m->dim + j]];
  }
}
/* Deal global rows[n] (-1: none) to their stores, in their order: rows of the first store, then of the second ..., numbered
 * within it, and of grad[n, dim] (or none) the numbers of their columns, likewise. counts[stores] says how many. Returns 1 if out of memory. */
EXPORT int cs_mixed_split(const void *shape, const int64_t *rows, const float *grad, int64_t *out_rows, float *out_grad, int64_t *counts,
                          int64_t n, int threads) {
  const mixed *m = shape;
  int64_t (*count)[BLOCKS] = calloc((size_t)m->stores, sizeof *count), at = 0, numbers = 0;
  int64_t *start = malloc(2 * (size_t)m->stores * sizeof *start + (size_t)n * sizeof(int32_t));
  if (!count || !start) { free(count); free(start); return 1; }
  int64_t *lead = start + m->stores;
  mixed_args a = {.m = m, .from = rows, .grad = grad, .rows = out_rows, .out_grad = out_grad, .n = n, .count = count, .start = start,
                  .lead = lead, .found = (int32_t *)(lead + m->stores)};
  run(mixed_count, &a, BLOCKS, threads);
  for (int64_t s = 0; s < m->stores; s++) {
    start[s] = at, lead[s] = numbers;
    for (int b = 0; b < BLOCKS; b++) { int64_t c = count[s][b]; count[s][b] = at; at += c; }
    counts[s] = at - start[s];
    numbers += counts[s] * m->width[s];
  }
  run(mixed_deal, &a, BLOCKS, threads);
  free(count);
  free(start);
  return 0;
}

typedef struct {
  float *weight, *m, *v; int32_t *last_step; const int64_t *rows; const float *grad, *counts;
  int64_t n, dim; float lr, eps, l2, scale, c2; double b1, b2; int64_t step; double *sums;
  const float *replay; const float *decay; int64_t decays; int part, parts;
} row_args;

static void add_block(const void *args, int64_t b) {
  const row_args *a = args;
  SPAN(a->n, b, BLOCKS);
  for (int64_t i = first; i < last; i++) {
    if (a->rows[i] < 0) continue;
    int64_t to = a->rows[i] * a->dim;
    LANES(j, a->dim) put(a->weight, to + j, k, 0, get(a->weight, to + j, k, 0) + get(a->grad, i * a->dim + j, k, 0));
  }
}
/* into[rows[i]] += grad[i]; the rows are distinct (after cs_merge). */
EXPORT void cs_add(float *into, const int64_t *rows, const float *grad, int64_t n, int64_t dim, int threads) {
  row_args a = {.weight = into, .rows = rows, .grad = grad, .n = n, .dim = dim};
  run(add_block, &a, BLOCKS, threads);
}

static void norm_block(const void *args, int64_t b) {
  const row_args *a = args;
  SPAN(a->n, b, BLOCKS);
  double sum = 0;
  for (int64_t i = first; i < last; i++) {
    if (a->rows && a->rows[i] < 0) continue;
    vf s = {0};
    LANES(j, a->dim) { vf g = get(a->grad, i * a->dim + j, k, 0); s += g * g; }
    for (int l = 0; l < W; l++) sum += s[l];
  }
  a->sums[b] = sum;
}
/* Sum of squares of grad[n, dim] over rows that are not -1 (rows may be NULL). */
EXPORT double cs_square_sum(const int64_t *rows, const float *grad, int64_t n, int64_t dim, int threads) {
  double sums[BLOCKS], total = 0;
  row_args a = {.rows = rows, .grad = grad, .n = n, .dim = dim, .sums = sums};
  run(norm_block, &a, BLOCKS, threads);
  for (int b = 0; b < BLOCKS; b++) total += sums[b];
  return total;
}

/* ---- numbers times vectors -------------------------------------------------------------------------------------- */
typedef struct {
  const float *x, *weight, *missing, *bias; const void *grad; void *out; float *sums; int64_t n, columns, dim, stride; int half;
} scale_args;

INLINE void scale_span(const scale_args *a, int64_t first, int64_t last, int half) {
  for (int64_t i = first; i < last; i++)
    for (int64_t c = 0; c < a->columns; c++) {
      float x = a->x[i * a->columns + c];
      int64_t at = c * a->dim, to = (i * a->columns + c) * a->dim;
      if (x != x) LANES(j, a->dim) put(a->out, to + j, k, half, get(a->missing, at + j, k, 0));
      else if (a->bias) LANES(j, a->dim) put(a->out, to + j, k, half, x * get(a->weight, at + j, k, 0) + get(a->bias, at + j, k, 0));
      else LANES(j, a->dim) put(a->out, to + j, k, half, x * get(a->weight, at + j, k, 0));
    }
}
static void scale_block(const void *args, int64_t b) {
  const scale_args *a = args;
  SPAN(a->n, b, BLOCKS);
  if (a->half) scale_span(a, first, last, 1); else scale_span(a, first, last, 0);
}
/* out[i, c] = x[i, c] * weight[c] + bias[c] (bias may be NULL), or missing[c] where x is NaN; vectors of length dim. */
EXPORT void cs_scale_forward(const float *x, const float *weight, const float *missing, const float *bias, void *out, int64_t n,
                             int64_t columns, int64_t dim, int half, int threads) {
  scale_args a = {.x = x, .weight = weight, .missing = missing, .bias = bias, .out = out, .n = n, .columns = columns, .dim = dim, .half = half};
  run(scale_block, &a, BLOCKS, threads);
}
INLINE void scale_back_span(const scale_args *a, int64_t b, int64_t first, int64_t last, int half) {
  int64_t size = a->columns * a->dim;
  float *dw = a->sums + b * 3 * size, *dm = dw + size, *db = dm + size;
  memset(dw, 0, (size_t)size * 3 * sizeof(float));
  for (int64_t i = first; i < last; i++)
    for (int64_t c = 0; c < a->columns; c++) {
      float x = a->x[i * a->columns + c];
      int64_t at = c * a->dim, from = i * a->stride + at;
      if (x != x) LANES(j, a->dim) put(dm, at + j, k, 0, get(dm, at + j, k, 0) + get(a->grad, from + j, k, half));
      else
        LANES(j, a->dim) {
          vf g = get(a->grad, from + j, k, half);
          put(dw, at + j, k, 0, get(dw, at + j, k, 0) + x * g);
          put(db, at + j, k, 0, get(db, at + j, k, 0) + g);
        }
    }
}
static void scale_back_block(const void *args, int64_t b) {
  const scale_args *a = args;
  SPAN(a->n, b, BLOCKS);
  if (a->half) scale_back_span(a, b, first, last, 1); else scale_back_span(a, b, first, last, 0);
}
/* Gradients of weight, missing and bias, one after another in into[3, columns, dim]; grad's first axis is `stride` apart. */
EXPORT int cs_scale_backward(const float *x, const void *grad, float *into, int64_t n, int64_t columns, int64_t dim, int64_t stride,
                             int half, int threads) {
  int64_t size = 3 * columns * dim;
  float *sums = malloc((size_t)BLOCKS * size * sizeof(float));
  if (!sums) return -1;
  scale_args a = {.x = x, .grad = grad, .sums = sums, .n = n, .columns = columns, .dim = dim, .stride = stride, .half = half};
  run(scale_back_block, &a, BLOCKS, threads);
  for (int64_t j = 0; j < size; j++) {
    double total = 0;
    for (int b = 0; b < BLOCKS; b++) total += sums[b * size + j];
    into[j] = (float)total;
  }
  free(sums);
  return 0;
}

/* ---- optimisers of rows ---------------------------------------------------------------------------------------- */
/* Steps that a row missed, as dense Adam would have made them with a zero gradient: the sum over the missed steps is a
 * Gauss rule of two nodes in eps/sqrt(v) whose weights depend on the last step only (kernels/replay.py). */
INLINE void replay_row(const row_args *a, int64_t row, int64_t from, int64_t to) {
  const float *c = a->replay + 4 * from;
  int64_t missed = to - from, at = row * a->dim;
  vf p1 = all(c[0]), e1 = all(c[1]), p2 = all(c[2]), e2 = all(c[3]);
  vf d1 = all(missed < a->decays ? a->decay[2 * missed] : 0.f);
  vf d2 = all(missed < a->decays ? a->decay[2 * missed + 1] : (float)pow(a->b2, (double)missed));
  LANES(j, a->dim) {
    vf m = get(a->m, at + j, k, 0), v = get(a->v, at + j, k, 0), s = root(v);
    vf w = get(a->weight, at + j, k, 0) - m * (p1 / (s + e1) + p2 / (s + e2));
    put(a->weight, at + j, k, 0, w);
    put(a->m, at + j, k, 0, m * d1);
    put(a->v, at + j, k, 0, v * d2);
  }
}
INLINE void prefetch_row(const row_args *a, int64_t row) {
  int64_t at = row * a->dim;
  if (a->last_step) __builtin_prefetch(a->last_step + row, 1);
  for (int64_t j = 0; j < a->dim; j += 16) {
    __builtin_prefetch(a->weight + at + j, 1);
    if (a->m) __builtin_prefetch(a->m + at + j, 1);
    if (a->v) __builtin_prefetch(a->v + at + j, 1);
  }
}
#define CHUNK 64
/* Each part looks at all rows and treats its own: first it picks them, without a branch, while their lines come in. */
static void catch_up_block(const void *args, int64_t part) {
  const row_args *a = args;
  int64_t own[2][CHUNK], picked[2] = {0, 0}, late[CHUNK], since[CHUNK], step = a->step, parts = a->parts;
  for (int64_t first = 0, side = 0; first < a->n + CHUNK; first += CHUNK, side ^= 1) {
    int64_t count = 0, found = 0;
    for (int64_t i = first; i < MIN(first + CHUNK, a->n); i++) {
      int64_t row = a->rows[i];
      own[side][count] = row;
      count += (row >= 0) & ((int64_t)(((mix((uint64_t)row) >> 32) * (uint64_t)parts) >> 32) == part);
    }
    picked[side] = count;
    for (int64_t q = 0; q < count; q++) __builtin_prefetch(a->last_step + own[side][q]);
    const int64_t *rows = own[side ^ 1];
    for (int64_t q = 0; q < picked[side ^ 1]; q++) {
      int32_t from = a->last_step[rows[q]];
      if (from == 0 || from >= step) continue; /* never touched (its moments are zero), or up to date */
      a->last_step[rows[q]] = (int32_t)step;
      prefetch_row(a, rows[q]);
      late[found] = rows[q];
      since[found++] = from;
    }
    for (int64_t q = 0; q < found; q++) replay_row(a, late[q], since[q], step);
  }
}
static void flush_block(const void *args, int64_t b) {
  const row_args *a = args;
  SPAN(a->n, b, BLOCKS);
  for (int64_t row = first; row < last; row++) {
    int32_t from = a->last_step[row];
    if (from == 0 || from >= a->step) continue;
    a->last_step[row] = (int32_t)a->step;
    replay_row(a, row, from, a->step);
  }
}
/* Bring rows[n] (or rows 0..n-1 if `rows` is NULL) up to `step`. */
EXPORT void cs_adam_catch_up(float *weight, float *m, float *v, int32_t *last_step, const int64_t *rows, int64_t n, int64_t dim,
                             int64_t step, double b2, const float *replay, const float *decay, int64_t decays, int threads) {
  row_args a = {.weight = weight, .m = m, .v = v, .last_step = last_step, .rows = rows, .n = n, .dim = dim, .step = step,
                .b2 = b2, .replay = replay, .decay = decay, .decays = decays, .parts = threads > 1 ? threads : 1};
  if (rows) run(catch_up_block, &a, threads > 1 ? threads : 1, threads);
  else run(flush_block, &a, BLOCKS, threads);
}

INLINE void adam_values(const row_args *a, int64_t at, int64_t from, int64_t n, float l2) {
  vf b1 = all((float)a->b1), b2 = all((float)a->b2), n1 = all((float)(1 - a->b1)), n2 = all((float)(1 - a->b2)), scale = all(a->scale), decay = all(l2);
  vf lr = all(a->lr), c2 = all(a->c2), eps = all(a->eps);
  LANES(j, n) {
    vf w = get(a->weight, at + j, k, 0), g = scale * get(a->grad, from + j, k, 0) + decay * w;
    vf m = b1 * get(a->m, at + j, k, 0) + n1 * g, v = b2 * get(a->v, at + j, k, 0) + n2 * g * g;
    put(a->m, at + j, k, 0, m);
    put(a->v, at + j, k, 0, v);
    put(a->weight, at + j, k, 0, w - lr * m / (root(v) * c2 + eps));
  }
}
#define EACH_ROW(a, i, row)                                                                  \
  for (int64_t i = first, row; i < last; i++)                                                \
    if (i + 8 < last && (a)->rows[i + 8] >= 0 ? (prefetch_row((a), (a)->rows[i + 8]), 1) : 1) \
      if ((row = (a)->rows[i]) >= 0)

INLINE float row_l2(const row_args *a, int64_t row) { return a->counts ? a->l2 / (a->counts[row] > 1 ? a->counts[row] : 1) : a->l2; }

static void adam_block(const void *args, int64_t b) {
  const row_args *a = args;
  SPAN(a->n, b, BLOCKS);
  EACH_ROW(a, i, row) {
    if (a->last_step) {
      int64_t from = a->last_step[row];
      if (from && from < a->step - 1) replay_row(a, row, from, a->step - 1);
      a->last_step[row] = (int32_t)a->step;
    }
    adam_values(a, row * a->dim, i * a->dim, a->dim, row_l2(a, row));
  }
}
/* Adam on distinct rows. lr and c2 carry the bias corrections: lr / (1 - b1^t) and 1 / sqrt(1 - b2^t). */
EXPORT void cs_adam_rows(float *weight, float *m, float *v, int32_t *last_step, const int64_t *rows, const float *grad, const float *counts,
                         int64_t n, int64_t dim, int64_t step, float lr, double b1, double b2, float eps, float c2, float l2, float scale,
                         const float *replay, const float *decay, int64_t decays, int threads) {
  row_args a = {.weight = weight, .m = m, .v = v, .last_step = last_step, .rows = rows, .grad = grad, .counts = counts, .n = n, .dim = dim,
                .step = step, .lr = lr, .b1 = b1, .b2 = b2, .eps = eps, .c2 = c2, .l2 = l2, .scale = scale, .replay = replay,
                .decay = decay, .decays = decays};
  run(adam_block, &a, BLOCKS, threads);
}
static void adam_dense_block(const void *args, int64_t b) {
  const row_args *a = args;
  int64_t pieces = (a->n + W - 1) / W;
  SPAN(pieces, b, BLOCKS);
  int64_t from = first * W, n = MIN(last * W, a->n) - from;
  if (n <= 0) return;
  adam_values(a, from, from, n, a->l2);
  memset((float *)a->grad + from, 0, (size_t)n * sizeof(float));
}
/* Adam on all n values; the gradient is set to zero afterwards. */
EXPORT void cs_adam_dense(float *weight, float *m, float *v, float *grad, int64_t n, float lr, double b1, double b2, float eps, float c2,
                          float l2, float scale, int threads) {
  row_args a = {.weight = weight, .m = m, .v = v, .grad = grad, .n = n, .lr = lr, .b1 = b1, .b2 = b2, .eps = eps, .c2 = c2, .l2 = l2,
                .scale = scale};
  run(adam_dense_block, &a, BLOCKS, threads);
}
static void adagrad_block(const void *args, int64_t b) {
  const row_args *a = args;
  SPAN(a->n, b, BLOCKS);
  EACH_ROW(a, i, row) {
    int64_t at = row * a->dim;
    vf l2 = all(row_l2(a, row));
    LANES(j, a->dim) {
      vf w = get(a->weight, at + j, k, 0), g = a->scale * get(a->grad, i * a->dim + j, k, 0) + l2 * w;
      vf v = get(a->v, at + j, k, 0) + g * g;
      put(a->v, at + j, k, 0, v);
      put(a->weight, at + j, k, 0, w - a->lr * g / (root(v) + a->eps));
    }
  }
}
EXPORT void cs_adagrad_rows(float *weight, float *v, const int64_t *rows, const float *grad, const float *counts, int64_t n, int64_t dim,
                            float lr, float eps, float l2, float scale, int threads) {
  row_args a = {.weight = weight, .v = v, .rows = rows, .grad = grad, .counts = counts, .n = n, .dim = dim, .lr = lr, .eps = eps, .l2 = l2,
                .scale = scale};
  run(adagrad_block, &a, BLOCKS, threads);
}
static void sgd_block(const void *args, int64_t b) {
  const row_args *a = args;
  SPAN(a->n, b, BLOCKS);
  EACH_ROW(a, i, row) {
    int64_t at = row * a->dim;
    vf l2 = all(row_l2(a, row));
    LANES(j, a->dim) {
      vf w = get(a->weight, at + j, k, 0), g = a->scale * get(a->grad, i * a->dim + j, k, 0) + l2 * w;
      put(a->weight, at + j, k, 0, w - a->lr * g);
    }
  }
}
EXPORT void cs_sgd_rows(float *weight, const int64_t *rows, const float *grad, const float *counts, int64_t n, int64_t dim, float lr,
                        float l2, float scale, int threads) {
  row_args a = {.weight = weight, .rows = rows, .grad = grad, .counts = counts, .n = n, .dim = dim, .lr = lr, .l2 = l2, .scale = scale};
  run(sgd_block, &a, BLOCKS, threads);
}

/* ---- dense layers ---------------------------------------------------------------------------------------------- */
/* Dropout from a counter: value i of a tensor is kept if hash(seed, i) >= rate. */
INLINE vi kept_at(uint64_t seed, vu x, vi rate) {
  x ^= (uint32_t)seed;
  x ^= x >> 16; x *= 0x7feb352du; x ^= x >> 15; x ^= (uint32_t)(seed >> 32); x *= 0x846ca68bu; x ^= x >> 16;
  return (vi)(x >> 1) >= rate;
}
INLINE vi kept(uint64_t seed, int64_t at, vi rate) { return kept_at(seed, lane_numbers() + (uint32_t)at, rate); }
INLINE vf only(vi mask, vf x) { return (vf)((vi)x & mask); }

typedef struct {
  const void *x, *y, *g, *z; void *out, *out2; int64_t n, width; int half; uint64_t seed; float drop, keep;
  const float *scale, *shift, *third; float *sums;
} dense_args;

INLINE vi rate_of(const dense_args *a) { return (int32_t)((double)a->drop * 2147483648.0) - (vi){0}; }

/* Columns: two sums per column and block in sums[block][2][width], added up in block order by `totals`. */
static void totals(const float *sums, int64_t width, int which, double *into) {
  for (int64_t j = 0; j < width; j++) into[j] = 0;
  for (int b = 0; b < BLOCKS; b++)
    for (int64_t j = 0; j < width; j++) into[j] += sums[((int64_t)b * 2 + which) * width + j];
}

INLINE void moments_span(const dense_args *a, int64_t b, int64_t first, int64_t last, int half) {
  float *s = a->sums + b * 2 * a->width, *q = s + a->width;
  memset(s, 0, (size_t)a->width * 2 * sizeof(float));
  for (int64_t i = first; i < last; i++)
    LANES(j, a->width) { /* relative to the first row, so that a large mean does not cancel */
      vf v = get(a->x, i * a->width + j, k, half) - get(a->x, j, k, half);
      put(s, j, k, 0, get(s, j, k, 0) + v);
      put(q, j, k, 0, get(q, j, k, 0) + v * v);
    }
}
static void moments_block(const void *args, int64_t b) {
  const dense_args *a = args;
  SPAN(a->n, b, BLOCKS);
  if (a->half) moments_span(a, b, first, last, 1); else moments_span(a, b, first, last, 0);
}
INLINE void norm_forward_span(const dense_args *a, int64_t first, int64_t last, int half) {
  vf zero = {0}, keep = all(a->keep);
  vi rate = rate_of(a);
  for (int64_t i = first; i < last; i++)
    LANES(j, a->width) {
      int64_t at = i * a->width + j;
      vf v = get(a->x, at, k, half) * get(a->scale, j, k, 0) + get(a->shift, j, k, 0);
      v = only(v > zero, v);
      if (a->drop > 0) v = only(kept(a->seed, at, rate), v * keep);
      put(a->out, at, k, half, v);
    }
}
static void norm_forward_block(const void *args, int64_t b) {
  const dense_args *a = args;
  SPAN(a->n, b, BLOCKS);
  if (a->half) norm_forward_span(a, first, last, 1); else norm_forward_span(a, first, last, 0);
}
/* From sums about what stands in `mean`: the mean and 1/deviation of the batch, the moved running values, and what
 * makes y = scale x + shift. `bias` (or NULL) was left out of x, so it is added to the running mean only. */
static void norm_columns(const float *sums, double *total, int64_t n, int64_t width, const float *gamma, const float *beta,
                         const float *bias, float *running_mean, float *running_var, float momentum, float eps, float *mean,
                         float *inverse, float *scale, float *shift) {
  totals(sums, width, 0, total);
  totals(sums, width, 1, total + width);
  for (int64_t j = 0; j < width; j++) {
    double s = total[j] / n, var = total[width + j] / n - s * s, mu = mean[j] + s;
    if (var < 0) var = 0;
    mean[j] = (float)mu;
    inverse[j] = (float)(1 / sqrt(var + eps));
    if (running_mean) {
      running_mean[j] = (float)((1 - momentum) * running_mean[j] + momentum * (mu + (bias ? bias[j] : 0)));
      running_var[j] = (float)((1 - momentum) * running_var[j] + momentum * var * n / (n - 1.0));
    }
    scale[j] = gamma[j] * inverse[j];
    shift[j] = (float)(beta[j] - mu * scale[j]);
  }
}
/* From the sums of g and of g times the normalised x: gradients of the norm's weights, and what makes dx = scale g + shift + third x. */
static void norm_slopes(const float *sums, double *total, int64_t n, int64_t width, const float *gamma, const float *mean,
                        const float *inverse, float *dgamma, float *dbeta, float *scale, float *shift, float *third) {
  totals(sums, width, 0, total);
  totals(sums, width, 1, total + width);
  for (int64_t j = 0; j < width; j++) {
    double s = total[j], q = total[width + j], by = (double)gamma[j] * inverse[j], b = -by * q / n * inverse[j];
    dbeta[j] = (float)s;
    dgamma[j] = (float)q;
    scale[j] = (float)by;
    third[j] = (float)b;
    shift[j] = (float)(-by * s / n - b * mean[j]);
  }
}
/* y = dropout(relu(batch_norm(x))), x [n, width]. Gives mean and 1/deviation of the batch and moves the running values;
 * `bias` (or NULL) was left out of x, so it is added to the running mean only. Returns -1 if out of memory. */
EXPORT int cs_norm_forward(const void *x, void *y, int64_t n, int64_t width, const float *gamma, const float *beta, const float *bias,
                           float *running_mean, float *running_var, float momentum, float eps, float *mean, float *inverse, float drop,
                           uint64_t seed, int half, int threads) {
  float *sums = malloc((size_t)(BLOCKS + 1) * 2 * width * sizeof(float));
  double *total = malloc((size_t)width * 2 * sizeof(double));
  if (!sums || !total) { free(sums); free(total); return -1; }
  float *scale = sums + (int64_t)BLOCKS * 2 * width, *shift = scale + width;
  dense_args a = {.x = x, .out = y, .n = n, .width = width, .half = half, .seed = seed, .drop = drop, .keep = 1 / (1 - drop),
                  .scale = scale, .shift = shift, .sums = sums};
  run(moments_block, &a, BLOCKS, threads);
  for (int64_t j = 0; j < width; j++) mean[j] = get(x, j, 1, half)[0];
  norm_columns(sums, total, n, width, gamma, beta, bias, running_mean, running_var, momentum, eps, mean, inverse, scale, shift);
  run(norm_forward_block, &a, BLOCKS, threads);
  free(sums);
  free(total);
  return 0;
}

/* x: before the norm, y: after the layer, g: gradient of y; scale = mean, shift = inverse. */
INLINE void norm_sums_span(const dense_args *a, int64_t b, int64_t first, int64_t last, int half) {
  float *s = a->sums + b * 2 * a->width, *q = s + a->width;
  vf zero = {0}, keep = all(a->keep);
  memset(s, 0, (size_t)a->width * 2 * sizeof(float));
  for (int64_t i = first; i < last; i++)
    LANES(j, a->width) {
      int64_t at = i * a->width + j;
      vf g = only(get(a->y, at, k, half) > zero, get(a->g, at, k, half) * keep);
      vf h = (get(a->x, at, k, half) - get(a->scale, j, k, 0)) * get(a->shift, j, k, 0);
      put(s, j, k, 0, get(s, j, k, 0) + g);
      put(q, j, k, 0, get(q, j, k, 0) + g * h);
    }
}
static void norm_sums_block(const void *args, int64_t b) {
  const dense_args *a = args;
  SPAN(a->n, b, BLOCKS);
  if (a->half) norm_sums_span(a, b, first, last, 1); else norm_sums_span(a, b, first, last, 0);
}
INLINE void norm_backward_span(const dense_args *a, int64_t first, int64_t last, int half) { /* dx = scale * g + shift + third * x */
  vf zero = {0}, keep = all(a->keep);
  for (int64_t i = first; i < last; i++)
    LANES(j, a->width) {
      int64_t at = i * a->width + j;
      vf g = only(get(a->y, at, k, half) > zero, get(a->g, at, k, half) * keep);
      vf r = get(a->x, at, k, half) * get(a->third, j, k, 0) + get(a->shift, j, k, 0);
      put(a->out, at, k, half, g * get(a->scale, j, k, 0) + r);
    }
}
static void norm_backward_block(const void *args, int64_t b) {
  const dense_args *a = args;
  SPAN(a->n, b, BLOCKS);
  if (a->half) norm_backward_span(a, first, last, 1); else norm_backward_span(a, first, last, 0);
}
EXPORT int cs_norm_backward(const void *g, const void *y, const void *x, void *dx, int64_t n, int64_t width, const float *gamma,
                            const float *mean, const float *inverse, float *dgamma, float *dbeta, float drop, int half, int threads) {
  float *sums = malloc((size_t)((BLOCKS * 2) + 3) * width * sizeof(float));
  double *total = malloc((size_t)width * 2 * sizeof(double));
  if (!sums || !total) { free(sums); free(total); return -1; }
  dense_args a = {.x = x, .y = y, .g = g, .out = dx, .n = n, .width = width, .half = half, .drop = drop, .keep = 1 / (1 - drop),
                  .scale = mean, .shift = inverse, .sums = sums};
  run(norm_sums_block, &a, BLOCKS, threads);
  float *c = sums + (int64_t)BLOCKS * 2 * width, *shift = c + width, *third = shift + width;
  norm_slopes(sums, total, n, width, gamma, mean, inverse, dgamma, dbeta, c, shift, third);
  a.scale = c;
  a.shift = shift;
  a.third = third;
  run(norm_backward_block, &a, BLOCKS, threads);
  free(sums);
  free(total);
  return 0;
}

INLINE void drop_span(const dense_args *a, int64_t first, int64_t last, int half) {
  vf keep = all(a->keep);
  vi rate = rate_of(a);
  for (int64_t j = first * W; j < MIN(last * W, a->n); j += W) {
    int64_t k = MIN(a->n - j, W);
    put(a->out, j, k, half, only(kept(a->seed, j, rate), get(a->out, j, k, half) * keep));
  }
}
static void drop_block(const void *args, int64_t b) {
  const dense_args *a = args;
  int64_t pieces = (a->n + W - 1) / W;
  SPAN(pieces, b, BLOCKS);
  if (a->half) drop_span(a, first, last, 1); else drop_span(a, first, last, 0);
}
/* Dropout in place on n values. */
EXPORT void cs_drop(void *x, int64_t n, float drop, uint64_t seed, int half, int threads) {
  dense_args a = {.out = x, .n = n, .half = half, .seed = seed, .drop = drop, .keep = 1 / (1 - drop)};
  run(drop_block, &a, BLOCKS, threads);
}

INLINE void relu_span(const dense_args *a, int64_t b, int64_t first, int64_t last, int half) {
  float *s = a->sums + b * 2 * a->width;
  vf zero = {0}, keep = all(a->keep);
  memset(s, 0, (size_t)a->width * sizeof(float));
  for (int64_t i = first; i < last; i++)
    LANES(j, a->width) {
      int64_t at = i * a->width + j;
      vf g = get(a->g, at, k, half);
      if (a->y) {
        g = only(get(a->y, at, k, half) > zero, g * keep);
        put(a->out, at, k, half, g);
      }
      put(s, j, k, 0, get(s, j, k, 0) + g);
    }
}
static void relu_block(const void *args, int64_t b) {
  const dense_args *a = args;
  SPAN(a->n, b, BLOCKS);
  if (a->half) relu_span(a, b, first, last, 1); else relu_span(a, b, first, last, 0);
}
static int with_sums(block_fn *fn, dense_args *a, float *dbias, int threads) {
  a->sums = malloc((size_t)BLOCKS * 2 * a->width * sizeof(float));
  double *total = malloc((size_t)a->width * sizeof(double));
  if (!a->sums || !total) { free(a->sums); free(total); return -1; }
  run(fn, a, BLOCKS, threads);
  totals(a->sums, a->width, 0, total);
  for (int64_t j = 0; j < a->width; j++) dbias[j] = (float)total[j];
  free(a->sums);
  free(total);
  return 0;
}
/* Gradient through dropout and ReLU, and the sum over rows for the bias. y NULL: only the sum of g. */
EXPORT int cs_relu_backward(const void *g, const void *y, void *dx, float *dbias, int64_t n, int64_t width, float drop, int half,
                            int threads) {
  dense_args a = {.y = y, .g = g, .out = dx, .n = n, .width = width, .half = half, .keep = 1 / (1 - drop)};
  return with_sums(relu_block, &a, dbias, threads);
}

INLINE void cross_span(const dense_args *a, int64_t first, int64_t last, int half) {
  int64_t from = first * a->width, n = last * a->width - from;
  LANES(j, n) put(a->out, from + j, k, half, get(a->x, from + j, k, half) * get(a->y, from + j, k, half) + get(a->z, from + j, k, half));
}
static void cross_block(const void *args, int64_t b) {
  const dense_args *a = args;
  SPAN(a->n, b, BLOCKS);
  if (a->half) cross_span(a, first, last, 1); else cross_span(a, first, last, 0);
}
/* out = x0 * y + x: the cross layer of DCNv2 after its product y = W x + b. */
EXPORT void cs_cross_forward(const void *x0, const void *y, const void *x, void *out, int64_t n, int64_t width, int half, int threads) {
  dense_args a = {.x = x0, .y = y, .z = x, .out = out, .n = n, .width = width, .half = half};
  run(cross_block, &a, BLOCKS, threads);
}
INLINE void cross_back_span(const dense_args *a, int64_t b, int64_t first, int64_t last, int half) {
  float *s = a->sums + b * 2 * a->width;
  memset(s, 0, (size_t)a->width * sizeof(float));
  for (int64_t i = first; i < last; i++)
    LANES(j, a->width) {
      int64_t at = i * a->width + j;
      vf g = get(a->g, at, k, half), d = g * get(a->x, at, k, half);
      put(a->out2, at, k, half, g * get(a->y, at, k, half));
      put(a->out, at, k, half, d);
      put(s, j, k, 0, get(s, j, k, 0) + d);
    }
}
static void cross_back_block(const void *args, int64_t b) {
  const dense_args *a = args;
  SPAN(a->n, b, BLOCKS);
  if (a->half) cross_back_span(a, b, first, last, 1); else cross_back_span(a, b, first, last, 0);
}
/* dy = g * x0, dx0 = g * y, and the sum of dy over rows. */
EXPORT int cs_cross_backward(const void *g, const void *x0, const void *y, void *dy, void *dx0, float *dbias, int64_t n, int64_t width,
                             int half, int threads) {
  dense_args a = {.g = g, .x = x0, .y = y, .out = dy, .out2 = dx0, .n = n, .width = width, .half = half};
  return with_sums(cross_back_block, &a, dbias, threads);
}

/* ---- products with weights that change no more ------------------------------------------------------------------ */
/* Weights lie in panels of ACROSS outputs, [panels][inputs][ACROSS], zeros past the last output; a tile of DOWN rows by one panel
 * stays in registers. Inputs that are the same in all rows, as a user's are in those of its candidates, are multiplied once. */
#define ACROSS (2 * W)
#if W == 16
#define DOWN 12
#else
#define DOWN 6
#endif
#define AT_ONCE 144 /* rows whose inputs stay in the second cache while panel after panel is multiplied */
#define UNROLL _Pragma("GCC unroll 16")
typedef struct { int64_t first, end; } input_run;
typedef struct {
  const float *x, *w, *b; float *out; int64_t n, inputs, outputs, panels; int relu;
  input_run *same, *other; /* inputs that are the same in all rows, and the others; an empty run is the last */
} product_args;

INLINE void product_tile(const product_args *a, const input_run *run, const float *x, int64_t panel, const float *start, float *out,
                         int64_t stride, int64_t outputs, int relu, int rows) {
  const float *w = a->w + panel * a->inputs * ACROSS;
  vf s[DOWN], t[DOWN], zero = {0};
  UNROLL for (int l = 0; l < rows; l++) { s[l] = *(const vf_any *)start; t[l] = *(const vf_any *)(start + W); }
  for (; run->end; run++)
    for (int64_t k = run->first; k < run->end; k++) {
      vf c = *(const vf_any *)(w + k * ACROSS), d = *(const vf_any *)(w + k * ACROSS + W);
      UNROLL for (int l = 0; l < rows; l++) {
        vf v = all(x[l * a->inputs + k]);
        s[l] += v * c;
        t[l] += v * d;
      }
    }
  UNROLL for (int l = 0; l < rows; l++) {
    put(out, l * stride, MIN(outputs, W), 0, relu ? only(~(s[l] < zero), s[l]) : s[l]);
    if (outputs > W) put(out, l * stride + W, MIN(outputs - W, W), 0, relu ? only(~(t[l] < zero), t[l]) : t[l]);
  }
}
static void product_block(const void *args, int64_t b) {
  const product_args *a = args;
  int64_t panel = b % a->panels, first = b / a->panels * AT_ONCE, last = MIN(first + AT_ONCE, a->n);
  int64_t outputs = MIN(a->outputs - panel * ACROSS, ACROSS);
  float start[ACROSS];
  product_tile(a, a->same, a->x, panel, a->b + panel * ACROSS, start, ACROSS, ACROSS, 0, 1);
  for (int64_t row = first; row < last; row += DOWN) {
    const float *x = a->x + row * a->inputs;
    float *out = a->out + row * a->outputs + panel * ACROSS;
#define TILE_OF(rows) case rows: product_tile(a, a->other, x, panel, start, out, a->outputs, outputs, a->relu, rows); break;
    switch (MIN(last - row, DOWN)) {
      TILE_OF(1) TILE_OF(2) TILE_OF(3) TILE_OF(4) TILE_OF(5) TILE_OF(6)
#if DOWN == 12
      TILE_OF(7) TILE_OF(8) TILE_OF(9) TILE_OF(10) TILE_OF(11) TILE_OF(12)
#endif
    }
  }
}
/* Find the inputs that have the same bits in all rows. `alike` is work space for `inputs` numbers. */
static void product_runs(const product_args *a, uint32_t *alike) {
  const uint32_t *x = (const uint32_t *)a->x;
  uint32_t any = a->n > DOWN;
  memset(alike, any ? 0xff : 0, (size_t)a->inputs * sizeof *alike);
  for (int64_t i = 1; any && i < a->n; i++) {
    any = 0;
    for (int64_t k = 0; k < a->inputs; k++) any |= alike[k] &= x[i * a->inputs + k] == x[k] ? ~0u : 0;
  }
  input_run *same = a->same, *other = a->other;
  for (int64_t k = 0, end; k < a->inputs; k = end) {
    for (end = k + 1; end < a->inputs && alike[end] == alike[k];) end++;
    *(alike[k] ? same++ : other++) = (input_run){k, end};
  }
  *same = *other = (input_run){0, 0};
}
EXPORT int64_t cs_product_panel(void) { return ACROSS; }
/* out = x w' + b, or its ReLU, in float; x [n, inputs], out [n, outputs], w and b in panels. Returns -1 if out of memory. */
EXPORT int cs_product(const float *x, const float *w, const float *b, float *out, int64_t n, int64_t inputs, int64_t outputs, int relu,
                      int threads) {
  product_args a = {.x = x, .w = w, .b = b, .out = out, .n = n, .inputs = inputs, .outputs = outputs, .relu = relu};
  a.panels = (outputs + ACROSS - 1) / ACROSS;
  a.same = malloc((size_t)(inputs + 2) * (2 * sizeof *a.same + sizeof(uint32_t)));
  if (!a.same) return -1;
  a.other = a.same + inputs / 2 + 2;
  product_runs(&a, (uint32_t *)(a.other + inputs / 2 + 2));
  run(product_block, &a, a.panels * ((n + AT_ONCE - 1) / AT_ONCE), threads);
  free(a.same);
  return 0;
}

/* ---- gradients of weights ---------------------------------------------------------------------------------------- */
/* out = g' x in float: g [n, outputs], x [n, inputs], out [outputs, inputs]. A tile of DOWN outputs by ACROSS inputs stays in registers
 * over STEPS steps; both operands are laid out for it first. The order of a sum depends on the sizes only, not on threads. A
 * step is a row; of bfloat16 it is two, where the processor multiplies pairs. */
#define STEPS 192
#define TILES 32 /* tiles whose part of g stays in the second cache */
#if W == 16 && defined(__AVX512BF16__)
#define PAIRS 1
#else
#define PAIRS 0
#endif
typedef struct {
  const void *g, *x; float *out, *space; int64_t n, outputs, inputs, tiles, panels, tile_parts, panel_parts; int half;
} gradient_args;

/* Lay out `width` columns of `rows` rows, from column `at`, as steps of `padded` numbers. */
INLINE void gradient_lay(const void *from, int64_t row, int64_t rows, int64_t stride, int64_t at, int64_t width, int64_t padded, float *into,
                         int half) {
  if (half && PAIRS) {
    for (int64_t r = 0; r < rows; r += 2, into += padded)
      for (int64_t j = 0, k; j < padded; j += W) {
        k = MIN(MAX(width - j, 0), W);
        vu low = (vu)get(from, (row + r) * stride + at + j, k, 1) >> 16;
        vu high = r + 1 < rows ? (vu)get(from, (row + r + 1) * stride + at + j, k, 1) : (vu){0};
        put(into, j, MIN(padded - j, W), 0, (vf)(low | high));
      }
    return;
  }
  for (int64_t r = 0; r < rows; r++, into += padded)
    for (int64_t j = 0; j < padded; j += W)
      put(into, j, MIN(padded - j, W), 0, get(from, (row + r) * stride + at + j, MIN(MAX(width - j, 0), W), half));
}
INLINE vf multiply_add(vf s, vf a, vf b, int half) {
#if PAIRS
  if (half) return (vf)_mm512_dpbf16_ps((__m512)s, (__m512bh)a, (__m512bh)b);
#endif
  return s + a * b;
}
INLINE void gradient_tile(const float *g, const float *x, int64_t steps, float *out, int64_t stride, int64_t outputs, int64_t inputs,
                          int first, int half) {
  vf s[DOWN], t[DOWN];
  UNROLL for (int l = 0; l < DOWN; l++) s[l] = t[l] = (vf){0};
  for (int64_t k = 0; k < steps; k++, g += DOWN, x += ACROSS) {
    vf c = *(const vf_any *)x, d = *(const vf_any *)(x + W);
    UNROLL for (int l = 0; l < DOWN; l++) {
      vf v = all(g[l]);
      s[l] = multiply_add(s[l], v, c, half);
      t[l] = multiply_add(t[l], v, d, half);
    }
  }
  int64_t left = MIN(inputs, W), right = inputs - left;
  UNROLL for (int l = 0; l < DOWN; l++) {
    if (l >= outputs) break;
    float *to = out + l * stride;
    put(to, 0, left, 0, first ? s[l] : s[l] + get(to, 0, left, 0));
    if (right) put(to, W, right, 0, first ? t[l] : t[l] + get(to, W, right, 0));
  }
}
INLINE void gradient_part(const gradient_args *a, int64_t b, int half) {
  int64_t tile_part = b % a->tile_parts, panel_part = b / a->tile_parts, rows = half && PAIRS ? 2 * STEPS : STEPS;
  int64_t tile_end = a->tiles * (tile_part + 1) / a->tile_parts, panel_end = a->panels * (panel_part + 1) / a->panel_parts;
  float *g = a->space + b * STEPS * (TILES * DOWN + ACROSS), *x = g + STEPS * TILES * DOWN;
  for (int64_t t0 = a->tiles * tile_part / a->tile_parts; t0 < tile_end; t0 += TILES) {
    int64_t t1 = MIN(t0 + TILES, tile_end);
    for (int64_t row = 0; row < a->n; row += rows) {
      int64_t now = MIN(rows, a->n - row), steps = half && PAIRS ? (now + 1) / 2 : now;
      for (int64_t t = t0; t < t1; t++)
        gradient_lay(a->g, row, now, a->outputs, t * DOWN, MIN(a->outputs - t * DOWN, DOWN), DOWN, g + (t - t0) * STEPS * DOWN, half);
      for (int64_t p = a->panels * panel_part / a->panel_parts; p < panel_end; p++) {
        int64_t inputs = MIN(a->inputs - p * ACROSS, ACROSS);
        gradient_lay(a->x, row, now, a->inputs, p * ACROSS, inputs, ACROSS, x, half);
        for (int64_t t = t0; t < t1; t++)
          gradient_tile(g + (t - t0) * STEPS * DOWN, x, steps, a->out + t * DOWN * a->inputs + p * ACROSS, a->inputs,
                        MIN(a->outputs - t * DOWN, DOWN), inputs, row == 0, half);
      }
    }
  }
}
static void gradient_block(const void *args, int64_t b) {
  const gradient_args *a = args;
  if (a->half) gradient_part(a, b, 1); else gradient_part(a, b, 0);
}
INLINE int64_t gradient_area(int64_t outputs, int64_t inputs) { /* with what the tiles pad */
  return (outputs + DOWN - 1) / DOWN * DOWN * ((inputs + ACROSS - 1) / ACROSS * ACROSS);
}
/* Returns -1 if out of memory. */
EXPORT int cs_weight_gradient(const void *g, const void *x, float *out, int64_t n, int64_t outputs, int64_t inputs, int half, int threads) {
  if (!n || !outputs || !inputs) { memset(out, 0, (size_t)(outputs * inputs) * sizeof(float)); return 0; }
  if (gradient_area(inputs, outputs) * 5 < gradient_area(outputs, inputs) * 4) { /* few inputs: x' g, turned */
    float *turned = malloc((size_t)(outputs * inputs) * sizeof(float));
    int failed = !turned || cs_weight_gradient(x, g, turned, n, inputs, outputs, half, threads);
    for (int64_t i = 0; !failed && i < outputs; i++)
      for (int64_t j = 0; j < inputs; j++) out[i * inputs + j] = turned[j * outputs + i];
    free(turned);
    return failed ? -1 : 0;
  }
  gradient_args a = {.g = g, .x = x, .out = out, .n = n, .outputs = outputs, .inputs = inputs, .half = half};
  a.tiles = (outputs + DOWN - 1) / DOWN;
  a.panels = (inputs + ACROSS - 1) / ACROSS;
  a.tile_parts = MIN(MAX(threads, 1), a.tiles);
  a.panel_parts = MIN(MAX(threads, 1) / a.tile_parts, a.panels);
  a.space = malloc((size_t)(a.tile_parts * a.panel_parts * STEPS * (TILES * DOWN + ACROSS)) * sizeof(float));
  if (!a.space) return -1;
  run(gradient_block, &a, a.tile_parts * a.panel_parts, threads);
  free(a.space);
  return 0;
}

/* ---- powers: exp of products with few inputs, and its batch norm ----------------------------------------------------- */
INLINE vf exp_small(vf r) { /* for |r| <= log(2) / 2 */
  vf p = ((((1.9875691500e-4f * r + 1.3981999507e-3f) * r + 8.3334519073e-3f) * r + 4.1665795894e-2f) * r + 1.6666665459e-1f) * r + 0.5f;
  return p * r * r + r + 1.f;
}
INLINE vf exp_of(vf x) { /* for x <= 0; relative error below 2e-7 */
  x = larger(x, all(-87.f));
  vf scaled = x * 1.44269504f - 0.5f;
  vi whole = __builtin_convertvector(scaled, vi); /* towards zero; x <= 0, so this rounds to nearest */
  vf n = __builtin_convertvector(whole, vf), r = x - n * 0.693359375f + n * 2.12194440e-4f;
  vf p = exp_small(r);
  return (vf)((vi)p + (whole << 23));
}

INLINE vf exp_any(vf x) { /* of any number; relative error below 2e-7; infinite where float ends, and not below 2e-38 */
  vf bounded = -larger(all(-88.8f), -larger(all(-86.6f), x));
  vf n = bounded * 1.44269504f + 12582912.f - 12582912.f, r = bounded - n * 0.693359375f + n * 2.12194440e-4f; /* n is whole */
  vf p = exp_small(r);
  vf y = 2 * (vf)((vu)p + (((vu)__builtin_convertvector(n, vi) - 1) << 23)); /* 2^128 is no float, half of it is */
  vi none = x != x;
  return (vf)(((vi)y & ~none) | ((vi)x & none));
}

/* y = exp(logs w') is computed anew in every pass, which costs less than to keep it: it is as wide as the layer is, and logs are as few
 * as fields. Weights lie in panels of W neurons, [panels][fields][W], zeros past the last neuron. */
#define TOGETHER 4 /* rows */
#define POWER_BLOCKS 16 /* of the last pass, each with weight gradients of its own */
typedef struct {
  const float *logs, *w; const void *g; void *out; int64_t n, fields, width, panels; int half;
  const float *scale, *shift, *third; float *sums, *dw, *dlogs;
} power_args;

INLINE void power_tile(const power_args *a, int64_t row, int64_t panel, vf *y, int rows) {
  const float *w = a->w + panel * a->fields * W, *logs = a->logs + row * a->fields;
  UNROLL for (int r = 0; r < rows; r++) y[r] = (vf){0};
  for (int64_t f = 0; f < a->fields; f++) {
    vf c = *(const vf_any *)(w + f * W);
    UNROLL for (int r = 0; r < rows; r++) y[r] += all(logs[r * a->fields + f]) * c;
  }
  UNROLL for (int r = 0; r < rows; r++) y[r] = exp_any(y[r]);
}
/* Moments about `shift`. */
INLINE void power_moments(const power_args *a, float *s, int64_t row, int half, int rows) {
  vf y[TOGETHER];
  for (int64_t p = 0, j = 0; p < a->panels; p++, j += W) {
    int64_t k = MIN(a->width - j, W);
    power_tile(a, row, p, y, rows);
    vf base = get(a->shift, j, k, 0), one = get(s, j, k, 0), two = get(s, a->width + j, k, 0);
    UNROLL for (int r = 0; r < rows; r++) { vf v = y[r] - base; one += v; two += v * v; }
    put(s, j, k, 0, one);
    put(s, a->width + j, k, 0, two);
  }
}
INLINE void power_apply(const power_args *a, float *s, int64_t row, int half, int rows) {
  vf y[TOGETHER];
  for (int64_t p = 0, j = 0; p < a->panels; p++, j += W) {
    int64_t k = MIN(a->width - j, W);
    power_tile(a, row, p, y, rows);
    vf scale = get(a->scale, j, k, 0), shift = get(a->shift, j, k, 0);
    UNROLL for (int r = 0; r < rows; r++) put(a->out, (row + r) * a->width + j, k, half, y[r] * scale + shift);
  }
}
/* scale = mean, shift = inverse. */
INLINE void power_sums(const power_args *a, float *s, int64_t row, int half, int rows) {
  vf y[TOGETHER];
  for (int64_t p = 0, j = 0; p < a->panels; p++, j += W) {
    int64_t k = MIN(a->width - j, W);
    power_tile(a, row, p, y, rows);
    vf mean = get(a->scale, j, k, 0), inverse = get(a->shift, j, k, 0), one = get(s, j, k, 0), two = get(s, a->width + j, k, 0);
    UNROLL for (int r = 0; r < rows; r++) {
      vf g = get(a->g, (row + r) * a->width + j, k, half);
      one += g;
      two += g * (y[r] - mean) * inverse;
    }
    put(s, j, k, 0, one);
    put(s, a->width + j, k, 0, two);
  }
}
/* `s`: weight gradients in panels, then room for TOGETHER rows of gradients by field and lane. */
INLINE void power_backward(const power_args *a, float *s, int64_t row, int half, int rows) {
  int64_t fields = a->fields;
  float *by_lane = s + a->panels * fields * W;
  const float *logs = a->logs + row * fields;
  vf y[TOGETHER];
  memset(by_lane, 0, (size_t)(rows * fields * W) * sizeof(float));
  for (int64_t p = 0, j = 0; p < a->panels; p++, j += W) {
    int64_t k = MIN(a->width - j, W);
    const float *w = a->w + p * fields * W;
    float *dw = s + p * fields * W;
    power_tile(a, row, p, y, rows);
    vf scale = get(a->scale, j, k, 0), shift = get(a->shift, j, k, 0), third = get(a->third, j, k, 0);
    UNROLL for (int r = 0; r < rows; r++)
      y[r] *= get(a->g, (row + r) * a->width + j, k, half) * scale + (y[r] * third + shift);
    for (int64_t f = 0; f < fields; f++) {
      vf c = *(const vf_any *)(w + f * W), sum = *(const vf_any *)(dw + f * W);
      UNROLL for (int r = 0; r < rows; r++) {
        vf_any *lane = (vf_any *)(by_lane + (r * fields + f) * W);
        sum += y[r] * all(logs[r * fields + f]);
        *lane += y[r] * c;
      }
      *(vf_any *)(dw + f * W) = sum;
    }
  }
  for (int64_t i = 0; i < rows * fields; i++) {
    float sum = 0;
    for (int l = 0; l < W; l++) sum += by_lane[i * W + l];
    a->dlogs[row * fields + i] = sum;
  }
}
/* What is done to rows [first, last), several at once. */
#define POWER_PASS(name, blocks, size)                                                                      \
  INLINE void name##_span(const power_args *a, float *s, int64_t row, int64_t last, int half) {             \
    for (; row + TOGETHER <= last; row += TOGETHER) name(a, s, row, half, TOGETHER);                        \
    for (; row < last; row++) name(a, s, row, half, 1);                                                     \
  }                                                                                                         \
  static void name##_block(const void *args, int64_t b) {                                                   \
    const power_args *a = args;                                                                             \
    float *s = a->sums + b * (size);                                                                        \
    memset(s, 0, (size_t)(size) * sizeof(float));                                                           \
    SPAN(a->n, b, blocks);                                                                                  \
    if (a->half) name##_span(a, s, first, last, 1); else name##_span(a, s, first, last, 0);                 \
  }
#define POWER_ROOM (a->panels * a->fields * W + TOGETHER * a->fields * W)
POWER_PASS(power_moments, BLOCKS, 2 * a->width)
POWER_PASS(power_apply, BLOCKS, 0)
POWER_PASS(power_sums, BLOCKS, 2 * a->width)
POWER_PASS(power_backward, POWER_BLOCKS, POWER_ROOM)

static float *power_panels(const float *w, int64_t fields, int64_t width) {
  int64_t panels = (width + W - 1) / W;
  float *laid = calloc((size_t)(panels * fields * W + 1), sizeof(float));
  for (int64_t j = 0; laid && j < width; j++)
    for (int64_t f = 0; f < fields; f++) laid[(j / W * fields + f) * W + j % W] = w[j * fields + f];
  return laid;
}
/* out = scale exp(logs w') + shift; logs [n, fields], w [width, fields], out [n, width] of `half`. Returns -1 if out of memory. */
EXPORT int cs_powers(const float *logs, const float *w, void *out, int64_t n, int64_t fields, int64_t width, const float *scale,
                     const float *shift, int half, int threads) {
  float *laid = power_panels(w, fields, width);
  if (!laid) return -1;
  power_args a = {.logs = logs, .w = laid, .out = out, .n = n, .fields = fields, .width = width, .panels = (width + W - 1) / W,
                  .half = half, .scale = scale, .shift = shift, .sums = laid};
  run(power_apply_block, &a, BLOCKS, threads);
  free(laid);
  return 0;
}
/* out = batch_norm(exp(logs w')) by the moments of the batch, which it gives. Returns -1 if out of memory. */
EXPORT int cs_powers_forward(const float *logs, const float *w, void *out, int64_t n, int64_t fields, int64_t width, const float *gamma,
                             const float *beta, float *running_mean, float *running_var, float momentum, float eps, float *mean,
                             float *inverse, int half, int threads) {
  float *laid = power_panels(w, fields, width), *sums = malloc((size_t)(BLOCKS + 1) * 2 * width * sizeof(float));
  double *total = malloc((size_t)width * 2 * sizeof(double));
  int failed = !laid || !sums || !total;
  if (!failed) {
    float *scale = sums + (int64_t)BLOCKS * 2 * width, *shift = scale + width;
    power_args a = {.logs = logs, .w = laid, .out = out, .n = n, .fields = fields, .width = width, .panels = (width + W - 1) / W,
                    .half = half, .scale = scale, .shift = shift, .sums = sums};
    for (int64_t j = 0; j < width; j++) mean[j] = 0;
    a.shift = mean;
    for (int pass = 0; pass < 2; pass++) { /* about zero, then about the mean: powers lie far apart, and squares cancel about all else */
      if (pass) totals(sums, width, 0, total);
      for (int64_t j = 0; pass && j < width; j++) mean[j] = (float)(total[j] / n);
      run(power_moments_block, &a, BLOCKS, threads);
    }
    norm_columns(sums, total, n, width, gamma, beta, 0, running_mean, running_var, momentum, eps, mean, inverse, scale, shift);
    a.shift = shift;
    run(power_apply_block, &a, BLOCKS, threads);
  }
  free(laid);
  free(sums);
  free(total);
  return failed ? -1 : 0;
}
/* All its derivatives; g [n, width] of `half`. Returns -1 if out of memory. */
EXPORT int cs_powers_backward(const void *g, const float *logs, const float *w, float *dlogs, float *dw, int64_t n, int64_t fields,
                              int64_t width, const float *gamma, const float *mean, const float *inverse, float *dgamma, float *dbeta,
                              int half, int threads) {
  float *laid = power_panels(w, fields, width), *sums = malloc((size_t)(BLOCKS * 2 + 3) * width * sizeof(float)), *parts = 0;
  double *total = malloc((size_t)width * 2 * sizeof(double));
  power_args args = {.logs = logs, .w = laid, .g = g, .n = n, .fields = fields, .width = width, .panels = (width + W - 1) / W,
                     .half = half, .scale = mean, .shift = inverse, .sums = sums, .dlogs = dlogs}, *a = &args;
  parts = malloc((size_t)POWER_BLOCKS * POWER_ROOM * sizeof(float));
  int failed = !laid || !sums || !total || !parts;
  if (!failed) {
    run(power_sums_block, a, BLOCKS, threads);
    float *scale = sums + (int64_t)BLOCKS * 2 * width, *shift = scale + width, *third = shift + width;
    norm_slopes(sums, total, n, width, gamma, mean, inverse, dgamma, dbeta, scale, shift, third);
    a->scale = scale;
    a->shift = shift;
    a->third = third;
    a->sums = parts;
    run(power_backward_block, a, POWER_BLOCKS, threads);
    for (int64_t j = 0; j < width; j++)
      for (int64_t f = 0; f < fields; f++) {
        double sum = 0;
        for (int b = 0; b < POWER_BLOCKS; b++) sum += parts[b * POWER_ROOM + (j / W * fields + f) * W + j % W];
        dw[j * fields + f] = (float)sum;
      }
  }
  free(laid);
  free(sums);
  free(total);
  free(parts);
  return failed ? -1 : 0;
}

/* ---- Dice -------------------------------------------------------------------------------------------------------- */
#define DICE_ROWS 64 /* rows summed up in float before a sum in double takes them */

/* x is of `half`, all else float; `admitted` says which rows count (null: all). */
typedef struct {
  const void *x; const float *g; void *out; const uint8_t *admitted; const float *mean, *inverse, *alpha, *through; double *sums;
  int64_t n, width; int half;
} dice_args;

INLINE int counts(const dice_args *a, int64_t row) { return !a->admitted || a->admitted[row]; }
/* sigmoid(z), z = (x - mean) inverse. */
INLINE vf dice_share(const dice_args *a, vf x, int64_t j, int64_t k, vf *z) {
  vf zero = {0};
  *z = (x - get(a->mean, j, k, 0)) * get(a->inverse, j, k, 0);
  vf e = exp_of(-larger(*z, -*z));
  return (only(*z >= zero, all(1)) + only(*z < zero, e)) / (1 + e);
}
/* The derivative of x (alpha + (1 - alpha) p) at fixed z, and by z. */
INLINE void dice_slopes(const dice_args *a, vf x, vf g, vf p, int64_t j, int64_t k, vf *direct, vf *by_z) {
  vf alpha = get(a->alpha, j, k, 0), rest = 1 - alpha;
  *direct = g * (alpha + rest * p);
  *by_z = g * x * rest * p * (1 - p);
}
INLINE void dice_add(double *sums, int64_t j, int64_t k, vf s) {
  for (int64_t l = 0; l < k; l++) sums[j + l] += s[l];
}

INLINE void dice_span(const dice_args *a, int64_t first, int64_t last, int half) {
  for (int64_t i = first; i < last; i++)
    LANES(j, a->width) {
      vf x = get(a->x, i * a->width + j, k, half), alpha = get(a->alpha, j, k, 0), z, y = {0};
      if (counts(a, i)) y = x * (alpha + (1 - alpha) * dice_share(a, x, j, k, &z));
      put(a->out, i * a->width + j, k, 0, y);
    }
}
static void dice_block(const void *args, int64_t b) {
  const dice_args *a = args;
  SPAN(a->n, b, BLOCKS);
  if (a->half) dice_span(a, first, last, 1); else dice_span(a, first, last, 0);
}
/* out = x (alpha + (1 - alpha) p), p = sigmoid((x - mean) inverse), 0 in rows not admitted; x and out [n, width]. */
EXPORT void cs_dice(const void *x, const uint8_t *admitted, float *out, const float *mean, const float *inverse, const float *alpha,
                    int64_t n, int64_t width, int half, int threads) {
  dice_args a = {.x = x, .out = out, .admitted = admitted, .mean = mean, .inverse = inverse, .alpha = alpha, .n = n, .width = width, .half = half};
  run(dice_block, &a, BLOCKS, threads);
}

/* Sums of x - mean and of its square over the rows of a block. */
INLINE void dice_moments_span(const dice_args *a, int64_t first, int64_t last, double *sums, int half) {
  for (int64_t start = first; start < last; start += DICE_ROWS)
    LANES(j, a->width) {
      vf base = get(a->mean, j, k, 0), s = {0}, q = {0};
      for (int64_t i = start; i < MIN(start + DICE_ROWS, last); i++)
        if (counts(a, i)) { vf d = get(a->x, i * a->width + j, k, half) - base; s += d; q += d * d; }
      dice_add(sums, j, k, s);
      dice_add(sums + a->width, j, k, q);
    }
}
static void dice_moments_block(const void *args, int64_t b) {
  const dice_args *a = args;
  SPAN(a->n, b, BLOCKS);
  double *sums = a->sums + b * 2 * a->width;
  if (a->half) dice_moments_span(a, first, last, sums, 1); else dice_moments_span(a, first, last, sums, 0);
}
static double total(const double *sums, int64_t apart, int64_t at) {
  double sum = 0;
  for (int64_t b = 0; b < BLOCKS; b++) sum += sums[b * apart + at];
  return sum;
}
/* Mean and variance (over their number) of each column of x [n, width] over the rows admitted. Returns how many there are: 0 leaves
 * both as they are; -1 if out of memory. */
EXPORT int64_t cs_dice_moments(const void *x, const uint8_t *admitted, float *mean, float *variance, int64_t n, int64_t width, int half,
                               int threads) {
  dice_args a = {.x = x, .admitted = admitted, .mean = mean, .n = n, .width = width, .half = half};
  int64_t seen = 0;
  for (int64_t i = 0; i < n; i++) seen += counts(&a, i);
  if (!seen) return 0;
  a.sums = calloc((size_t)(BLOCKS * 2 * width), sizeof *a.sums);
  if (!a.sums) return -1;
  /* A first mean, of a few rows: sums of squares about it lose no digits. */
  int64_t few = 0, until = 0;
  memset(mean, 0, (size_t)width * sizeof *mean);
  for (; until < n && few < DICE_ROWS; until++) few += counts(&a, until);
  if (half) dice_moments_span(&a, 0, until, a.sums, 1); else dice_moments_span(&a, 0, until, a.sums, 0);
  for (int64_t j = 0; j < width; j++) mean[j] = (float)(a.sums[j] / (double)few);
  memset(a.sums, 0, (size_t)(2 * width) * sizeof *a.sums);
  run(dice_moments_block, &a, BLOCKS, threads);
  for (int64_t j = 0; j < width; j++) {
    double off = total(a.sums, 2 * width, j) / (double)seen, square = total(a.sums, 2 * width, width + j) / (double)seen - off * off;
    mean[j] = (float)(mean[j] + off);
    variance[j] = square < 0 ? 0 : (float)square;
  }
  free(a.sums);
  return seen;
}

/* Sums over the rows of a block: of the derivative by z, of that times z, and of the derivative by alpha. */
INLINE void dice_sums_span(const dice_args *a, int64_t first, int64_t last, double *sums, int half) {
  for (int64_t start = first; start < last; start += DICE_ROWS)
    LANES(j, a->width) {
      vf s = {0}, t = {0}, u = {0};
      for (int64_t i = start; i < MIN(start + DICE_ROWS, last); i++)
        if (counts(a, i)) {
          vf x = get(a->x, i * a->width + j, k, half), g = get(a->g, i * a->width + j, k, 0), z, p = dice_share(a, x, j, k, &z), direct, by_z;
          dice_slopes(a, x, g, p, j, k, &direct, &by_z);
          s += by_z; t += by_z * z; u += g * x * (1 - p);
        }
      dice_add(sums, j, k, s);
      dice_add(sums + a->width, j, k, t);
      dice_add(sums + 2 * a->width, j, k, u);
    }
}
static void dice_sums_block(const void *args, int64_t b) {
  const dice_args *a = args;
  SPAN(a->n, b, BLOCKS);
  double *sums = a->sums + b * 3 * a->width;
  if (a->half) dice_sums_span(a, first, last, sums, 1); else dice_sums_span(a, first, last, sums, 0);
}
/* `through`: what the mean and the deviation carry, [2][width]: the mean of the derivative by z, and of that times z. */
INLINE void dice_back_span(const dice_args *a, int64_t first, int64_t last, int half) {
  for (int64_t i = first; i < last; i++)
    LANES(j, a->width) {
      vf dx = {0};
      if (counts(a, i)) {
        vf x = get(a->x, i * a->width + j, k, half), g = get(a->g, i * a->width + j, k, 0), z, p = dice_share(a, x, j, k, &z), direct, by_z;
        dice_slopes(a, x, g, p, j, k, &direct, &by_z);
        dx = direct + get(a->inverse, j, k, 0) * (by_z - get(a->through, j, k, 0) - z * get(a->through, a->width + j, k, 0));
      }
      put(a->out, i * a->width + j, k, half, dx);
    }
}
static void dice_back_block(const void *args, int64_t b) {
  const dice_args *a = args;
  SPAN(a->n, b, BLOCKS);
  if (a->half) dice_back_span(a, first, last, 1); else dice_back_span(a, first, last, 0);
}
/* dx (of x's type, 0 in rows not admitted) and dalpha from g, where mean and inverse are those of the `seen` rows admitted. Returns -1
 * if out of memory. */
EXPORT int cs_dice_backward(const void *x, const uint8_t *admitted, const float *g, void *dx, float *dalpha, const float *mean,
                            const float *inverse, const float *alpha, int64_t n, int64_t seen, int64_t width, int half, int threads) {
  double *sums = calloc((size_t)(BLOCKS * 3 * width), sizeof *sums);
  float *through = malloc((size_t)(2 * width) * sizeof *through);
  if (sums && through) {
    dice_args a = {.x = x, .g = g, .out = dx, .admitted = admitted, .mean = mean, .inverse = inverse, .alpha = alpha, .through = through,
                   .sums = sums, .n = n, .width = width, .half = half};
    run(dice_sums_block, &a, BLOCKS, threads);
    for (int64_t j = 0; j < 2 * width; j++) through[j] = (float)(total(sums, 3 * width, j) / (double)seen);
    for (int64_t j = 0; j < width; j++) dalpha[j] = (float)total(sums, 3 * width, 2 * width + j);
    run(dice_back_block, &a, BLOCKS, threads);
  }
  int failed = sums && through ? 0 : -1;
  free(sums); free(through);
  return failed;
}

/* ---- many small products ----------------------------------------------------------------------------------------- */
#define TILE 5 /* rows of a small product worked on at once: they keep the units busy */
#define KEPT 4096 /* floats of the second matrix kept in the first-level cache */
#define STRIP 128 /* values of a row of the first matrix widened at once */
#define PIECE 320 /* rows of one product done by one thread */

typedef struct {
  const void *x, *y; void *out; int64_t items, n, inner, m, pieces;
  int64_t x_item, x_row, x_in, y_item, y_in, y_col, out_item, out_row; int half;
} small_args;

/* `rows` rows of x times one or two vectors of columns of y, from column j on; y is float with rows of y_in, or as given. */
INLINE void small_tile(const small_args *a, const void *x, int64_t x_at, const void *y, int64_t y_at, int64_t y_in, int64_t j,
                       int64_t out_at, int half, int y_half, int two, int rows) {
  int64_t left = a->m - j, some = MIN(left, W), more = MIN(left - W, W);
  float strip[TILE * STRIP];
  vf s[TILE] = {0}, t[TILE] = {0};
  for (int64_t from = 0; from < a->inner; from += STRIP) {
    int64_t until = MIN(a->inner - from, STRIP), down = a->x_row, across = a->x_in;
    const float *value = (const float *)x + x_at + from * a->x_in;
    if (half) {
      for (int l = 0; l < rows; l++)
        for (int64_t k = 0; k < until; k++) {
          uint32_t bits = (uint32_t)((const uint16_t *)x)[x_at + l * a->x_row + (from + k) * a->x_in] << 16;
          memcpy(strip + l * STRIP + k, &bits, 4);
        }
      value = strip; down = STRIP; across = 1;
    }
    for (int64_t k = 0; k < until; k++) {
      int64_t at = y_at + (from + k) * y_in + j;
      vf c = get(y, at, some, y_half), d = c;
      if (two) d = get(y, at + W, more, y_half);
      UNROLL for (int l = 0; l < rows; l++) {
        vf w = all(value[l * down + k * across]);
        s[l] += w * c;
        if (two) t[l] += w * d;
      }
    }
  }
  UNROLL for (int l = 0; l < rows; l++) {
    put(a->out, out_at + l * a->out_row + j, some, half, s[l]);
    if (two) put(a->out, out_at + l * a->out_row + j + W, more, half, t[l]);
  }
}
/* The second matrix of an item as floats [inner][lanes], zero past m. */
INLINE void small_keep(const small_args *a, int64_t item, int64_t lanes, float *kept, int half) {
  for (int64_t k = 0; k < a->inner; k++)
    for (int64_t j = 0; j < lanes; j++) {
      int64_t at = item * a->y_item + k * a->y_in + j * a->y_col;
      float value = 0;
      if (j < a->m && half) { uint32_t bits = (uint32_t)((const uint16_t *)a->y)[at] << 16; memcpy(&value, &bits, 4); }
      else if (j < a->m) value = ((const float *)a->y)[at];
      kept[k * lanes + j] = value;
    }
}
INLINE void small_span(const small_args *a, int64_t b, int half) {
  SPAN(a->items * a->pieces, b, BLOCKS);
  int64_t lanes = (a->m + W - 1) / W * W, seen = -1;
  int keep = (half || a->y_col != 1) && a->inner * lanes <= KEPT;
  float kept[KEPT];
  for (int64_t p = first; p < last; p++) {
    int64_t item = p / a->pieces, row = a->n * (p % a->pieces) / a->pieces, end = a->n * (p % a->pieces + 1) / a->pieces;
    if (keep && item != seen) small_keep(a, seen = item, lanes, kept, half);
    const void *y = keep ? (const void *)kept : a->y;
    int64_t y_at = keep ? 0 : item * a->y_item, y_in = keep ? lanes : a->y_in;
    for (; row < end; row += TILE) {
      int64_t x_at = item * a->x_item + row * a->x_row, out_at = item * a->out_item + row * a->out_row;
      for (int64_t j = 0; j < a->m; j += 2 * W) {
#define SMALL(rows)                                                                                                    \
  case rows:                                                                                                           \
    if (keep && a->m - j > W) small_tile(a, a->x, x_at, y, y_at, y_in, j, out_at, half, 0, 1, rows);                   \
    else if (keep) small_tile(a, a->x, x_at, y, y_at, y_in, j, out_at, half, 0, 0, rows);                              \
    else if (a->m - j > W) small_tile(a, a->x, x_at, y, y_at, y_in, j, out_at, half, half, 1, rows);                   \
    else small_tile(a, a->x, x_at, y, y_at, y_in, j, out_at, half, half, 0, rows);                                     \
    break;
        switch (MIN(end - row, TILE)) { SMALL(1) SMALL(2) SMALL(3) SMALL(4) SMALL(5) }
      }
    }
  }
}
static void small_block(const void *args, int64_t b) {
  const small_args *a = args;
  if (a->half) small_span(a, b, 1); else small_span(a, b, 0);
}
/* out_i = x_i y_i for items i; x_i [n, inner], y_i [inner, m], out_i [n, m], each with its strides. y_col must be 1 unless y_i, its
 * rows rounded up to whole vectors, has at most KEPT values. */
EXPORT void cs_small_products(const void *x, const void *y, void *out, int64_t items, int64_t n, int64_t inner, int64_t m, int64_t x_item,
                              int64_t x_row, int64_t x_in, int64_t y_item, int64_t y_in, int64_t y_col, int64_t out_item, int64_t out_row,
                              int half, int threads) {
  small_args a = {x, y, out, items, n, inner, m, (n + PIECE - 1) / PIECE, x_item, x_row, x_in, y_item, y_in, y_col, out_item, out_row, half};
  run(small_block, &a, BLOCKS, threads);
}

/* ---- attention over few fields ----------------------------------------------------------------------------------- */

typedef struct {
  const void *x, *residual, *g, *y; void *out, *before, *dresidual; int64_t n, fields, heads, depth, stride, apart;
  float factor, drop, eps; uint64_t seed; int half, relu; const float *gamma, *beta; float *stats, *sums;
} attention_args;

/* Sizes of the work space of a row: a head is [tall][padded] floats, turned [padded][lanes], its weights [tall][lanes]. */
typedef struct { int64_t fields, depth, width, padded, lanes, tall, head, turned, weights; int whole; } attention_sizes;
INLINE attention_sizes sizes_of(const attention_args *a, int64_t depth) {
  attention_sizes z = {.fields = a->fields, .depth = depth, .width = a->heads * depth, .whole = depth % W == 0};
  z.padded = (z.depth + W - 1) / W * W;
  z.lanes = (z.fields + W - 1) / W * W;
  z.tall = z.lanes + TILE; /* tiles may look past the fields */
  z.head = z.tall * z.padded;
  z.turned = z.padded * z.lanes;
  z.weights = z.tall * z.lanes;
  return z;
}

/* One head of a row as floats, [fields][padded]; lanes past depth are zero. */
INLINE void head_of(const attention_sizes *z, const void *x, int64_t from, int64_t stride, float *into, int half) {
  for (int64_t f = 0; f < z->fields; f++)
    LANES(j, z->depth) put(into, f * z->padded + j, W, 0, get(x, from + f * stride + j, k, half));
}
/* The same, turned to [padded][lanes]. The halves of a square's rows, interleaved log2(W) times, are its columns. */
INLINE void turn(const attention_sizes *z, const float *head, float *into) {
  for (int64_t f = 0; f < z->lanes; f += W)
    for (int64_t j = 0; j < z->padded; j += W) {
      vf v[W], t[W];
      UNROLL for (int i = 0; i < W; i++) v[i] = *(const vf_any *)(head + (f + i) * z->padded + j);
      UNROLL for (int s = 1; s < W; s *= 2) {
        UNROLL for (int i = 0; i < W / 2; i++) { t[2 * i] = LOWER(v[i], v[i + W / 2]); t[2 * i + 1] = UPPER(v[i], v[i + W / 2]); }
        UNROLL for (int i = 0; i < W; i++) v[i] = t[i];
      }
      UNROLL for (int i = 0; i < W; i++) *(vf_any *)(into + (j + i) * z->lanes + f) = v[i];
    }
}
/* out[j][i] = a_j . b_i, a [fields][padded], b turned, out [fields][lanes]; `two` vectors of fields i at a time, or one. */
INLINE void dots_tile(const attention_sizes *z, const float *a, const float *b, float *out, int64_t i, int64_t j, int two) {
  vf s[TILE] = {0}, t[TILE] = {0};
  for (int64_t d = 0; d < z->depth; d++) {
    const float *from = b + d * z->lanes + i;
    vf c = *(const vf_any *)from, e = *(const vf_any *)(from + (two ? W : 0));
    UNROLL for (int l = 0; l < TILE; l++) {
      vf w = all(a[(j + l) * z->padded + d]);
      s[l] += w * c;
      if (two) t[l] += w * e;
    }
  }
  UNROLL for (int l = 0; l < TILE; l++) {
    *(vf_any *)(out + (j + l) * z->lanes + i) = s[l];
    if (two) *(vf_any *)(out + (j + l) * z->lanes + i + W) = t[l];
  }
}
INLINE void dots(const attention_sizes *z, const float *a, const float *b, float *out) {
  for (int64_t i = 0; i < z->lanes; i += 2 * W)
    for (int64_t j = 0; j < z->fields; j += TILE)
      if (z->lanes - i > W) dots_tile(z, a, b, out, i, j, 1);
      else dots_tile(z, a, b, out, i, j, 0);
}
/* Weights [j][i] from scores: the softmax over j, lane by lane. */
INLINE void softmax(const attention_sizes *z, float *s, float factor) {
  for (int64_t i = 0; i < z->lanes; i += W) {
    vf most = *(vf_any *)(s + i) * factor, total = {0};
    for (int64_t j = 1; j < z->fields; j++) most = larger(most, *(vf_any *)(s + j * z->lanes + i) * factor);
    for (int64_t j = 0; j < z->fields; j++) {
      vf_any *at = (vf_any *)(s + j * z->lanes + i);
      vf e = exp_of(*at * factor - most);
      *at = e;
      total += e;
    }
    vf share = 1.f / total;
    for (int64_t j = 0; j < z->fields; j++) *(vf_any *)(s + j * z->lanes + i) *= share;
  }
}
/* What dropout multiplies the weights [j][i] of a head with. Value [row][head][i][j] of a tensor whose last axis is rounded up to 16
 * decides, so that every instruction level drops the same ones. */
INLINE void drop_mask(const attention_args *a, const attention_sizes *z, int64_t row, int64_t h, float *mask) {
  int64_t across = (z->fields + 15) / 16 * 16, at = (row * a->heads + h) * z->fields * across;
  vi rate = (int32_t)((double)a->drop * 2147483648.0) - (vi){0};
  vf keep = all(1 / (1 - a->drop));
  vu down = lane_numbers() * (uint32_t)across;
  for (int64_t i = 0; i < z->lanes; i += W)
    for (int64_t j = 0; j < z->fields; j++)
      *(vf_any *)(mask + j * z->lanes + i) = only(kept_at(a->seed, down + (uint32_t)(at + i * across + j), rate), keep);
}
INLINE void times(const attention_sizes *z, const float *a, const float *b, float *out) {
  for (int64_t j = 0; j < z->fields * z->lanes; j += W) *(vf_any *)(out + j) = *(const vf_any *)(a + j) * *(const vf_any *)(b + j);
}
/* out_i = sum_j a[i * down + j * across] b_j, written at to + i * stride; `two` vectors of a head at a time, or one. */
INLINE void mix_tile(const attention_sizes *z, const float *a, int64_t down, int64_t across, const float *b, int64_t i, int64_t d,
                     void *out, int64_t to, int64_t stride, int half, int two) {
  vf s[TILE] = {0}, t[TILE] = {0};
  for (int64_t j = 0; j < z->fields; j++) {
    const float *from = b + j * z->padded + d, *weights = a + i * down + j * across;
    vf c = *(const vf_any *)from, e = *(const vf_any *)(from + (two ? W : 0));
    UNROLL for (int l = 0; l < TILE; l++) {
      vf w = all(weights[l * down]);
      s[l] += w * c;
      if (two) t[l] += w * e;
    }
  }
  UNROLL for (int l = 0; l < TILE; l++) {
    if (i + l >= z->fields) return;
    int64_t at = to + (i + l) * stride + d;
    put(out, at, MIN(z->depth - d, W), half, s[l]);
    if (two) put(out, at + W, MIN(z->depth - d - W, W), half, t[l]);
  }
}
INLINE void mix_heads(const attention_sizes *z, const float *a, int64_t down, int64_t across, const float *b, void *out, int64_t to,
                      int64_t stride, int half) {
  for (int64_t d = 0; d < z->depth; d += 2 * W)
    for (int64_t i = 0; i < z->fields; i += TILE)
      if (z->depth - d > W) mix_tile(z, a, down, across, b, i, d, out, to, stride, half, 1);
      else mix_tile(z, a, down, across, b, i, d, out, to, stride, half, 0);
}
/* Call in the next row while this one is worked on, a piece per head: its lines are read in strides that no processor foresees. */
INLINE void call_in(const void *x, int64_t row, int64_t last, int64_t size, int64_t h, int64_t heads, int half) {
  int64_t bytes = size * (half ? 2 : 4);
  if (row + 1 < last)
    for (int64_t at = bytes * h / heads; at < bytes * (h + 1) / heads; at += 64)
      __builtin_prefetch((const char *)x + (row + 1) * bytes + at, 0, 2);
}
INLINE float sum_of(vf v) { /* each fold leaves every sum of two lanes twice */
  UNROLL for (int s = 1; s < W; s *= 2) v = LOWER(v, v) + UPPER(v, v);
  return v[0];
}
/* The values of a field, a vector at a time; `whole`, known when it is compiled, spares the code for a last part. */
#define WIDTH(j, z) for (int64_t j = 0, k; k = (z)->whole ? W : MIN((z)->width - j, W), j < (z)->width; j += W)
/* What follows attention: the residual, layer normalisation, ReLU, each if wanted. `mixed` [fields][width] is what attention gave;
 * `stats` gets a field's mean and 1/deviation. */
INLINE void finish_row(const attention_args *a, const attention_sizes *z, int64_t row, float *mixed, int half) {
  vf zero = {0};
  for (int64_t f = 0; f < z->fields; f++) {
    int64_t field = row * z->fields + f, at = field * z->width, from = field * a->apart;
    float *v = mixed + f * z->width, mean = 0, inverse = 1;
    vf total = {0}, spread = {0};
    WIDTH(j, z) {
      vf o = get(v, j, k, 0);
      if (a->residual) o += get(a->residual, from + j, k, half);
      if (a->gamma) {
        if (half) o = widen(narrow(o)); /* as the backward pass will find it */
        put(a->before, at + j, k, half, o);
        total += o;
      }
      put(v, j, k, 0, o);
    }
    if (a->gamma) {
      mean = sum_of(total) / z->width;
      WIDTH(j, z) { vf c = get(v, j, k, 0) - mean; spread += k < W ? only(lane_numbers() < (uint32_t)k, c * c) : c * c; }
      inverse = 1 / sqrtf(sum_of(spread) / z->width + a->eps);
      a->stats[2 * field] = mean;
      a->stats[2 * field + 1] = inverse;
    }
    WIDTH(j, z) {
      vf o = get(v, j, k, 0);
      if (a->gamma) o = (o - mean) * inverse * get(a->gamma, j, k, 0) + get(a->beta, j, k, 0);
      if (a->relu) o = only(o > zero, o);
      put(a->out, at + j, k, half, o);
    }
  }
}
/* The way back through `finish_row`: the gradient of attention's output, as floats in `grad`, and of the residual. */
INLINE void start_row(const attention_args *a, const attention_sizes *z, int64_t row, float *grad, float *sums, int half) {
  vf zero = {0};
  for (int64_t f = 0; f < z->fields; f++) {
    int64_t field = row * z->fields + f, at = field * z->width, to = field * a->apart;
    float *v = grad + f * z->width;
    if (a->gamma) {
      float mean = a->stats[2 * field], inverse = a->stats[2 * field + 1];
      vf first = {0}, second = {0};
      WIDTH(j, z) { /* lanes past the width have gamma 0 */
        vf n = (get(a->y, at + j, k, half) - mean) * inverse, gamma = get(a->gamma, j, k, 0), g = get(a->g, at + j, k, half);
        if (a->relu) g = only(n * gamma + get(a->beta, j, k, 0) > zero, g);
        put(sums, j, k, 0, get(sums, j, k, 0) + g * n);
        put(sums, z->width + j, k, 0, get(sums, z->width + j, k, 0) + g);
        g *= gamma;
        first += g;
        second += g * n;
        put(v, j, k, 0, g);
      }
      float one = inverse * sum_of(first) / z->width, two = inverse * inverse * sum_of(second) / z->width;
      WIDTH(j, z) put(v, j, k, 0, inverse * get(v, j, k, 0) - one - two * (get(a->y, at + j, k, half) - mean));
    } else
      WIDTH(j, z) {
        vf g = get(a->g, at + j, k, half);
        put(v, j, k, 0, a->relu ? only(get(a->y, at + j, k, half) > zero, g) : g);
      }
    if (a->dresidual) WIDTH(j, z) put(a->dresidual, to + j, k, half, get(v, j, k, 0));
  }
}
INLINE void attention_span(const attention_args *a, int64_t first, int64_t last, int64_t depth, int half) {
  attention_sizes z = sizes_of(a, depth);
  int64_t row_size = z.fields * a->stride;
  float *q = calloc((size_t)(3 * z.head + z.turned + 2 * z.weights + z.fields * z.width), sizeof(float)), *kk = q + z.head, *v = kk + z.head;
  float *qt = v + z.head, *s = qt + z.turned, *mask = s + z.weights, *mixed = mask + z.weights;
  if (!q) abort();
  for (int64_t row = first; row < last; row++) {
    for (int64_t h = 0; h < a->heads; h++) {
      int64_t from = row * row_size + h * z.depth;
      call_in(a->x, row, last, row_size, h, a->heads, half);
      head_of(&z, a->x, from, a->stride, q, half);
      head_of(&z, a->x, from + z.width, a->stride, kk, half);
      head_of(&z, a->x, from + 2 * z.width, a->stride, v, half);
      turn(&z, q, qt);
      dots(&z, kk, qt, s);
      softmax(&z, s, a->factor);
      if (a->drop > 0) { drop_mask(a, &z, row, h, mask); times(&z, s, mask, s); }
      mix_heads(&z, s, 1, z.lanes, v, mixed, h * z.depth, z.width, 0);
    }
    finish_row(a, &z, row, mixed, half);
  }
  free(q);
}
INLINE void attention_back_span(const attention_args *a, int64_t b, int64_t first, int64_t last, int64_t depth, int half) {
  attention_sizes z = sizes_of(a, depth);
  int64_t row_size = z.fields * a->stride;
  float *q = calloc((size_t)(4 * z.head + 2 * z.turned + 4 * z.weights + z.fields * z.width), sizeof(float));
  float *kk = q + z.head, *v = kk + z.head, *g = v + z.head, *qt = g + z.head, *gt = qt + z.turned;
  float *s = gt + z.turned, *ds = s + z.weights, *mask = ds + z.weights, *dropped = mask + z.weights, *grad = dropped + z.weights;
  float *sums = a->sums + b * 2 * z.width;
  if (!q) abort();
  if (a->gamma) memset(sums, 0, (size_t)z.width * 2 * sizeof(float));
  for (int64_t row = first; row < last; row++) {
    start_row(a, &z, row, grad, sums, half);
    for (int64_t h = 0; h < a->heads; h++) {
      int64_t from = row * row_size + h * z.depth;
      call_in(a->x, row, last, row_size, h, a->heads, half);
      call_in(a->g, row, last, z.fields * z.width, h, a->heads, half);
      if (a->y) call_in(a->y, row, last, z.fields * z.width, h, a->heads, half);
      head_of(&z, a->x, from, a->stride, q, half);
      head_of(&z, a->x, from + z.width, a->stride, kk, half);
      head_of(&z, a->x, from + 2 * z.width, a->stride, v, half);
      head_of(&z, grad, h * z.depth, z.width, g, 0);
      turn(&z, q, qt);
      turn(&z, g, gt);
      dots(&z, kk, qt, s);
      softmax(&z, s, a->factor);
      dots(&z, v, gt, ds);
      if (a->drop > 0) {
        drop_mask(a, &z, row, h, mask);
        times(&z, ds, mask, ds);
        times(&z, s, mask, dropped);
      }
      for (int64_t i = 0; i < z.lanes; i += W) {
        vf mean = {0};
        for (int64_t j = i; j < z.fields * z.lanes; j += z.lanes) mean += *(vf_any *)(s + j) * *(vf_any *)(ds + j);
        for (int64_t j = i; j < z.fields * z.lanes; j += z.lanes)
          *(vf_any *)(ds + j) = a->factor * *(vf_any *)(s + j) * (*(vf_any *)(ds + j) - mean);
      }
      mix_heads(&z, ds, 1, z.lanes, kk, a->out, from, a->stride, half);
      mix_heads(&z, ds, z.lanes, 1, q, a->out, from + z.width, a->stride, half);
      mix_heads(&z, a->drop > 0 ? dropped : s, z.lanes, 1, g, a->out, from + 2 * z.width, a->stride, half);
    }
  }
  free(q);
}
static void attention_block(const void *args, int64_t b) {
  const attention_args *a = args;
  SPAN(a->n, b, BLOCKS);
  if (a->depth == 32 && a->half) attention_span(a, first, last, 32, 1);
  else if (a->depth == 32) attention_span(a, first, last, 32, 0);
  else attention_span(a, first, last, a->depth, a->half);
}
static void attention_back_block(const void *args, int64_t b) {
  const attention_args *a = args;
  SPAN(a->n, b, BLOCKS);
  if (a->depth == 32 && a->half) attention_back_span(a, b, first, last, 32, 1);
  else if (a->depth == 32) attention_back_span(a, b, first, last, 32, 0);
  else attention_back_span(a, b, first, last, a->depth, a->half);
}
/* out = relu(norm(dropout(softmax(factor Q K')) V + residual)) per head; x [n, fields, stride] holds Q, K, V side by side.
 * The fields' residuals (or NULL) are `apart` values apart. gamma NULL: no norm; else `before` gets what the norm is given,
 * and `stats` [n, fields, 2] its mean and 1/deviation. */
EXPORT void cs_attention_forward(const void *x, const void *residual, void *out, void *before, float *stats, const float *gamma,
                                 const float *beta, int64_t n, int64_t fields, int64_t heads, int64_t depth, int64_t stride, int64_t apart, float factor, float drop,
                                 uint64_t seed, float eps, int relu, int half, int threads) {
  attention_args a = {.x = x, .residual = residual, .out = out, .before = before, .stats = stats, .gamma = gamma, .beta = beta, .n = n, .fields = fields,
                      .heads = heads, .depth = depth, .stride = stride, .apart = apart, .factor = factor, .drop = drop, .seed = seed,
                      .eps = eps, .relu = relu, .half = half};
  run(attention_block, &a, BLOCKS, threads);
}
/* Gradients of x and of the residual (`dresidual` may be NULL), from g, that of out; the weights are computed again. y is `before` of
 * the forward pass, or out without a norm (NULL without ReLU too). Gives those of gamma and beta. Returns -1 if out of memory. */
EXPORT int cs_attention_backward(const void *x, const void *g, const void *y, const float *stats, void *dx, void *dresidual, const float *gamma,
                                 const float *beta, float *dgamma, float *dbeta, int64_t n, int64_t fields, int64_t heads, int64_t depth, int64_t stride,
                                 int64_t apart, float factor, float drop, uint64_t seed, float eps, int relu, int half, int threads) {
  int64_t width = heads * depth;
  attention_args a = {.x = x, .g = g, .y = y, .stats = (float *)stats, .out = dx, .dresidual = dresidual, .gamma = gamma, .beta = beta, .n = n, .fields = fields,
                      .heads = heads, .depth = depth, .stride = stride, .apart = apart, .factor = factor, .drop = drop, .seed = seed,
                      .eps = eps, .relu = relu, .half = half};
  a.sums = malloc((size_t)BLOCKS * 2 * width * sizeof(float));
  double *total = malloc((size_t)width * sizeof(double));
  if (!a.sums || !total) { free(a.sums); free(total); return -1; }
  run(attention_back_block, &a, BLOCKS, threads);
  for (int which = 0; gamma && which < 2; which++) {
    totals(a.sums, width, which, total);
    for (int64_t j = 0; j < width; j++) (which ? dbeta : dgamma)[j] = (float)total[j];
  }
  free(a.sums);
  free(total);
  return 0;
}
