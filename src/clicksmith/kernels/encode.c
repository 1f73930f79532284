/* Reading delimited text and numbering its values: what clicksmith.encode.native calls through ctypes.
 *
 * A value is a run of bytes. A dictionary numbers the values it meets 0, 1, 2, ... in the order of first appearance and
 * counts them. Codes handed out are that number plus one: 0 is "nothing here" (length < 0), -1 is "not known".
 * No function here keeps a pointer it is given, and each dictionary is touched by one thread at a time.
 */
#include <float.h>
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#if defined(__SSE2__)
#include <emmintrin.h>
#endif

#if defined(__linux__)
#include <sys/mman.h>
#endif

#define EXPORT __attribute__((visibility("default")))

typedef struct {
    uint64_t hash;
    uint32_t code; /* number + 1; 0: empty place */
    uint32_t len;
} Place;

typedef struct {
    Place *places;
    uint64_t mask;
    uint8_t *bytes;   /* all values, one after another */
    uint64_t *ends;   /* where value i ends in `bytes` */
    int64_t *counts;
    uint64_t used, room;
    uint64_t size, capacity;
} Dictionary;

static inline uint64_t word(const uint8_t *p) {
    uint64_t w;
    memcpy(&w, p, 8);
    return w;
}

static inline uint64_t half(const uint8_t *p) {
    uint32_t w;
    memcpy(&w, p, 4);
    return w;
}

/* The last 1..7 bytes as a little-endian word, zero above; reads nothing outside p[0..n). */
static inline uint64_t tail(const uint8_t *p, uint64_t n) {
    if (n >= 4) return half(p) | half(p + n - 4) << ((n - 4) * 8);
    return (uint64_t)p[0] | (uint64_t)p[n >> 1] << ((n >> 1) * 8) | (uint64_t)p[n - 1] << ((n - 1) * 8);
}

/* Written down in clicksmith/encode/hashing.py too. For values of at most 8 bytes it is a bijection per length. */
static inline uint64_t hash64(const uint8_t *p, uint64_t n) {
    uint64_t h = (n + 1) * 0x9E3779B97F4A7C15ull, left = n;
    for (; left >= 8; left -= 8, p += 8) {
        h = (h ^ word(p)) * 0xD6E8FEB86659FD93ull;
        h ^= h >> 32;
    }
    if (left) {
        h = (h ^ tail(p, left)) * 0xD6E8FEB86659FD93ull;
        h ^= h >> 32;
    }
    h *= 0xD6E8FEB86659FD93ull;
    return h ^ h >> 29;
}

EXPORT void enc_free(Dictionary *d) {
    if (!d) return;
    free(d->places);
    free(d->bytes);
    free(d->ends);
    free(d->counts);
    free(d);
}

EXPORT Dictionary *enc_new(void) {
    Dictionary *d = calloc(1, sizeof *d);
    if (!d) return NULL;
    d->mask = 63;
    d->places = calloc(64, sizeof(Place));
    d->room = 1024;
    d->bytes = malloc(d->room);
    d->capacity = 32;
    d->ends = malloc(d->capacity * 8);
    d->counts = malloc(d->capacity * 8);
    if (d->places && d->bytes && d->ends && d->counts) return d;
    enc_free(d);
    return NULL;
}

EXPORT int64_t enc_size(const Dictionary *d) { return (int64_t)d->size; }
EXPORT int64_t enc_bytes(const Dictionary *d) { return (int64_t)d->used; }

/* Zeroed places; a large table asks for large pages, since every look-up is at random. */
static Place *new_places(uint64_t n) {
#if defined(__linux__) && defined(MADV_HUGEPAGE)
    uint64_t bytes = n * sizeof(Place);
    if (bytes >= 1u << 22) {
        Place *places = aligned_alloc(1u << 21, bytes);
        if (!places) return NULL;
        madvise(places, bytes, MADV_HUGEPAGE);
        memset(places, 0, bytes);
        return places;
    }
#endif
    return calloc(n, sizeof(Place));
}

static int widen(Dictionary *d) {
    uint64_t mask = d->mask * 2 + 1;
    Place *places = new_places(mask + 1);
    if (!places) return -1;
    for (uint64_t i = 0; i <= d->mask; i++) {
        if (!d->places[i].code) continue;
        uint64_t at = d->places[i].hash & mask;
        while (places[at].code) at = (at + 1) & mask;
        places[at] = d->places[i];
    }
    free(d->places);
    d->places = places;
    d->mask = mask;
    return 0;
}

static int64_t insert(Dictionary *d, uint64_t at, uint64_t hash, const uint8_t *p, uint64_t n) {
    if (d->size == d->capacity) {
        uint64_t capacity = d->capacity + d->capacity / 2;
        uint64_t *ends = realloc(d->ends, capacity * 8);
        if (ends) d->ends = ends;
        int64_t *counts = realloc(d->counts, capacity * 8);
        if (counts) d->counts = counts;
        if (!ends || !counts) return -2;
        d->capacity = capacity;
    }
    if (d->used + n > d->room) {
        uint64_t room = d->room + d->room / 2 + n;
        uint8_t *bytes = realloc(d->bytes, room);
        if (!bytes) return -2;
        d->bytes = bytes;
        d->room = room;
    }
    memcpy(d->bytes + d->used, p, n);
    d->used += n;
    d->ends[d->size] = d->used;
    d->counts[d->size] = 0;
    d->size++;
    d->places[at] = (Place){hash, (uint32_t)d->size, (uint32_t)n};
    if (d->size * 8 > (d->mask + 1) * 5 && widen(d)) return -2;
    return (int64_t)d->size;
}

static inline int same(const Dictionary *d, const Place *place, const uint8_t *p, uint64_t n) {
    if (place->len != n) return 0;
    if (n <= 8) return 1; /* equal hashes of one length are equal words */
    return memcmp(d->bytes + d->ends[place->code - 1] - n, p, n) == 0;
}

static inline int64_t find(const Dictionary *d, uint64_t hash, const uint8_t *p, uint64_t n, uint64_t *at) {
    uint64_t i = hash & d->mask;
    for (; d->places[i].code; i = (i + 1) & d->mask)
        if (d->places[i].hash == hash && same(d, &d->places[i], p, n)) return d->places[i].code;
    *at = i;
    return -1;
}

#define AHEAD 32

/* Codes of n values, `stride` apart in starts and lens, `step` apart in out. grow 1: number new values and count
 * all; 2: number new values, count nothing; 0: only find. */
EXPORT int64_t enc_codes(Dictionary *d, const uint8_t *text, const int64_t *starts, const int32_t *lens, int64_t n,
                         int64_t stride, int32_t *out, int64_t step, int32_t grow) {
    uint64_t hashes[AHEAD];
    for (int64_t from = 0; from < n; from += AHEAD) {
        int64_t upto = from + AHEAD < n ? from + AHEAD : n;
        for (int64_t i = from; i < upto; i++) {
            int32_t len = lens[i * stride];
            if (len < 0) continue;
            hashes[i - from] = hash64(text + starts[i * stride], (uint64_t)len);
            __builtin_prefetch(&d->places[hashes[i - from] & d->mask]);
        }
        for (int64_t i = from; i < upto; i++) {
            int32_t len = lens[i * stride];
            if (len < 0) {
                out[i * step] = 0;
                continue;
            }
            const uint8_t *p = text + starts[i * stride];
            uint64_t at = 0;
            int64_t code = find(d, hashes[i - from], p, (uint64_t)len, &at);
            if (grow) {
                if (code < 0) code = insert(d, at, hashes[i - from], p, (uint64_t)len);
                if (code < 0) return -1;
                d->counts[code - 1] += grow == 1;
            }
            out[i * step] = (int32_t)code;
        }
    }
    return 0;
}

/* out[c, r] = the code of row r in column c, looked up in dictionaries[c] (-1 if that is null). counts[0] texts of column 0 come first,
 * then counts[1] of column 1, ...: one per row, or one for all rows. */
EXPORT void enc_rows(Dictionary *const *dictionaries, const int64_t *counts, int64_t columns, int64_t rows, const uint8_t *text,
                     const int64_t *ends, int32_t *out) {
    struct { const Dictionary *d; uint64_t hash; int64_t c, r; } ahead[AHEAD];
    int64_t c = 0, r = 0, i = 0;
    uint64_t at;
    while (c < columns) {
        int64_t from = i, n = 0;
        for (; c < columns && n < AHEAD; i++, n++) {
            int64_t start = i ? ends[i - 1] : 0;
            const Dictionary *d = dictionaries[c];
            ahead[n].d = d, ahead[n].c = c, ahead[n].r = r;
            if (d) {
                ahead[n].hash = hash64(text + start, (uint64_t)(ends[i] - start));
                __builtin_prefetch(&d->places[ahead[n].hash & d->mask]);
            }
            if (++r == counts[c]) r = 0, c++;
        }
        for (int64_t k = 0; k < n; k++) {
            int64_t start = from + k ? ends[from + k - 1] : 0, column = ahead[k].c;
            const Dictionary *d = ahead[k].d;
            int32_t *to = out + column * rows + ahead[k].r;
            *to = d ? (int32_t)find(d, ahead[k].hash, text + start, (uint64_t)(ends[from + k] - start), &at) : -1;
            if (counts[column] < rows)
                for (int64_t j = 1; j < rows; j++) to[j] = *to;
        }
    }
}

/* Enter n values with their counts, in order; the values must be new. */
EXPORT int64_t enc_load(Dictionary *d, const uint8_t *bytes, const int64_t *ends, const int64_t *counts, int64_t n) {
    int64_t start = 0;
    while ((d->mask + 1) * 5 < (d->size + (uint64_t)n) * 8)
        if (widen(d)) return -1;
    for (int64_t i = 0; i < n; i++) {
        uint64_t len = (uint64_t)(ends[i] - start), hash = hash64(bytes + start, len), at = 0;
        int64_t code = find(d, hash, bytes + start, len, &at);
        if (code < 0) code = insert(d, at, hash, bytes + start, len);
        if (code < 0) return -1;
        d->counts[code - 1] += counts ? counts[i] : 0;
        start = ends[i];
    }
    return 0;
}

EXPORT void enc_counts(const Dictionary *d, int64_t *counts) { memcpy(counts, d->counts, d->size * 8); }

/* Add to the count of each code (number + 1) its weight. */
EXPORT void enc_weigh(Dictionary *d, const int32_t *codes, const int64_t *weights, int64_t n) {
    for (int64_t i = 0; i < n; i++)
        if (codes[i] > 0) d->counts[codes[i] - 1] += weights[i];
}

EXPORT int64_t enc_pick_bytes(const Dictionary *d, const int32_t *numbers, int64_t n) {
    uint64_t total = 0;
    for (int64_t i = 0; i < n; i++)
        total += d->ends[numbers[i]] - (numbers[i] ? d->ends[numbers[i] - 1] : 0);
    return (int64_t)total;
}

/* The values with these numbers, one after another. */
EXPORT void enc_pick(const Dictionary *d, const int32_t *numbers, int64_t n, uint8_t *bytes, int64_t *ends) {
    uint64_t at = 0;
    for (int64_t i = 0; i < n; i++) {
        uint64_t start = numbers[i] ? d->ends[numbers[i] - 1] : 0, len = d->ends[numbers[i]] - start;
        memcpy(bytes + at, d->bytes + start, len);
        at += len;
        ends[i] = (int64_t)at;
    }
}

typedef struct {
    int64_t count;
    uint64_t prefix; /* the first 8 bytes, big-endian */
    const uint8_t *p;
    uint32_t len;
    int32_t number;
} Ranked;

static int by_rank(const void *x, const void *y) {
    const Ranked *a = x, *b = y;
    if (a->count != b->count) return a->count > b->count ? -1 : 1;
    if (a->prefix != b->prefix) return a->prefix < b->prefix ? -1 : 1;
    uint32_t n = a->len < b->len ? a->len : b->len;
    int order = memcmp(a->p, b->p, n);
    return order ? order : (a->len > b->len) - (a->len < b->len);
}

/* Numbers of the values counted at least `least` times, from number `from` on, by falling count, ties by their bytes. */
EXPORT int64_t enc_rank(const Dictionary *d, int64_t from, int64_t least, int32_t *numbers) {
    int64_t n = 0, i = 0;
    for (uint64_t k = (uint64_t)from; k < d->size; k++) n += d->counts[k] >= least;
    if (!n) return 0;
    Ranked *ranked = malloc((uint64_t)n * sizeof *ranked);
    if (!ranked) return -1;
    for (uint64_t k = (uint64_t)from; k < d->size; k++) {
        if (d->counts[k] < least) continue;
        uint64_t start = k ? d->ends[k - 1] : 0, len = d->ends[k] - start, prefix = 0;
        for (uint64_t b = 0; b < 8; b++) prefix = prefix << 8 | (b < len ? d->bytes[start + b] : 0);
        ranked[i++] = (Ranked){d->counts[k], prefix, d->bytes + start, (uint32_t)len, (int32_t)k};
    }
    qsort(ranked, (uint64_t)n, sizeof *ranked, by_rank);
    for (i = 0; i < n; i++) numbers[i] = ranked[i].number;
    free(ranked);
    return n;
}

EXPORT void enc_hash(const uint8_t *text, const int64_t *starts, const int32_t *lens, int64_t n, int64_t stride,
                     uint64_t *out) {
    for (int64_t i = 0; i < n; i++)
        out[i] = lens[i * stride] < 0 ? 0 : hash64(text + starts[i * stride], (uint64_t)lens[i * stride]);
}

/* out[r, c] = tables[c][codes[r * down + c * across]]; a negative code reads the table's last entry. */
EXPORT void enc_remap(const int32_t *codes, int64_t n, int64_t columns, int64_t across, int64_t down,
                      const int32_t *const *tables, const int64_t *sizes, int32_t *out) {
    for (int64_t from = 0; from < n; from += 64)
        for (int64_t c = 0; c < columns; c++)
            for (int64_t r = from; r < n && r < from + 64; r++) {
                int32_t code = codes[r * down + c * across];
                out[r * columns + c] = tables[c][code < 0 ? sizes[c] - 1 : code];
            }
}

/* Exact sums of the finite values and of their squares: sum[e] += mantissa << (part of exponent e), in two halves. */
EXPORT void enc_sum(const double *x, int64_t n, int64_t stride, int64_t *sums, int64_t *squares, double *range,
                    int64_t *count) {
    for (int64_t i = 0; i < n; i++) {
        double v = x[i * stride];
        if (v != v) continue;
        if (v < range[0]) range[0] = v;
        if (v > range[1]) range[1] = v;
        ++*count;
        double parts[3] = {v, v * v, 0}; /* the square and what rounding took from it */
        if (parts[1] > DBL_MAX) parts[1] = DBL_MAX;
        else if (parts[1] > 1e-280) parts[2] = fma(v, v, -parts[1]);
        for (int k = 0; k < 3; k++) {
            uint64_t bits;
            memcpy(&bits, &parts[k], 8);
            int64_t e = (int64_t)(bits >> 52 & 2047), m = (int64_t)(bits & 0xFFFFFFFFFFFFFull);
            if (e) m |= 1ll << 52;
            else e = 1;
            int64_t *acc = (k ? squares : sums) + e * 2, low = m & 0xFFFFFFFF, high = m >> 32;
            acc[0] += bits >> 63 ? -low : low;
            acc[1] += bits >> 63 ? -high : high;
        }
    }
}

/* ---- delimited text ---------------------------------------------------------------------------------------------- */

/* Where the last complete row of text[0..n) ends (after its newline), newlines inside quotes left out; 0 if none. */
EXPORT int64_t enc_whole(const uint8_t *text, int64_t n, uint8_t delimiter) {
    if (!memchr(text, '"', (uint64_t)n)) {
        while (n && text[n - 1] != '\n') n--;
        return n;
    }
    int64_t last = 0;
    int fresh = 1, inside = 0;
    for (int64_t i = 0; i < n; i++) {
        uint8_t b = text[i];
        if (inside) {
            if (b == '"') inside = 0; /* a doubled quote opens again at once */
            fresh = 1;
        } else if (b == '"' && fresh) inside = 1;
        else {
            fresh = b == delimiter || b == '\n';
            if (b == '\n') last = i + 1;
        }
    }
    return last;
}

/* Whether any byte is outside ASCII. */
EXPORT int32_t enc_foreign(const uint8_t *text, int64_t n) {
    uint64_t any = 0;
    int64_t i = 0;
    for (; i + 8 <= n; i += 8) any |= word(text + i);
    for (; i < n; i++) any |= (uint64_t)text[i] << 56 | text[i];
    return (any & 0x8080808080808080ull) != 0;
}

static const double POWERS[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8,  1e9,  1e10, 1e11,
                                1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};

/* [+-]digits[.digits], at most 15 digits: exact. Anything else is left to the caller. */
static inline int number(const uint8_t *p, int64_t n, double *out) {
    int64_t i = 0, digits = 0, point = -1;
    int negative = 0;
    if (n && (p[0] == '-' || p[0] == '+')) negative = p[i++] == '-';
    int64_t m = 0;
    for (; i < n; i++) {
        uint8_t b = (uint8_t)(p[i] - '0');
        if (b <= 9) {
            m = m * 10 + b;
            if (++digits > 15) return 0;
        } else if (p[i] == '.' && point < 0) point = digits;
        else return 0;
    }
    if (!digits) return 0;
    double v = (double)m;
    if (point >= 0) v /= POWERS[digits - point];
    *out = negative ? -v : v;
    return 1;
}

typedef struct {
    uint8_t *text;
    const int32_t *kinds;  /* per column: 0 skip, 1 number, 2 text */
    const int32_t *places; /* per column: its position among those of its kind */
    int64_t columns, limit;
    double *numbers;
    int64_t *starts;
    int32_t *lens;
    int64_t *odd; /* cells that are not plain numbers: flat position, start, length */
    int64_t odd_n, row, column, found;
} Split;

static const uint64_t MISSING = 0x7FF8000000000000ull;

static inline void cell(Split *s, int64_t start, int64_t end) {
    int64_t c = s->column++;
    if (c >= s->columns) return;
    if (s->kinds[c] == 2) {
        int64_t at = s->places[c] * s->limit + s->row;
        s->starts[at] = start;
        s->lens[at] = (int32_t)(end - start);
    } else if (s->kinds[c] == 1) {
        int64_t at = s->places[c] * s->limit + s->row;
        if (end == start || !number(s->text + start, end - start, &s->numbers[at])) {
            memcpy(&s->numbers[at], &MISSING, 8);
            if (end > start) {
                int64_t *odd = s->odd + 3 * s->odd_n++;
                odd[0] = at;
                odd[1] = start;
                odd[2] = end - start;
            }
        }
    }
}

static inline int line(Split *s, int64_t start, int64_t end) { /* the last cell of a row; 1 to stop */
    if (end > start && s->text[end - 1] == '\r') end--;
    if (s->column == 0 && end == start && s->columns > 1) return 0; /* a blank line */
    cell(s, start, end);
    if (s->column != s->columns) {
        s->found = s->column;
        return 1;
    }
    s->column = 0;
    s->row++;
    return s->row == s->limit;
}

static inline uint64_t marks(const uint8_t *p, uint8_t delimiter) {
#if defined(__SSE2__)
    const __m128i d = _mm_set1_epi8((char)delimiter), nl = _mm_set1_epi8('\n');
    uint64_t out = 0;
    for (int k = 0; k < 4; k++) {
        __m128i v = _mm_loadu_si128((const __m128i *)(const void *)(p + 16 * k));
        uint64_t bits = (uint64_t)(uint32_t)_mm_movemask_epi8(_mm_or_si128(_mm_cmpeq_epi8(v, d), _mm_cmpeq_epi8(v, nl)));
        out |= bits << (16 * k);
    }
    return out;
#else
    uint64_t out = 0;
    for (int k = 0; k < 64; k++) out |= (uint64_t)(p[k] == delimiter || p[k] == '\n') << k;
    return out;
#endif
}

static void split_plain(Split *s, int64_t n, uint8_t delimiter) {
    uint8_t last[64];
    int64_t start = 0;
    for (int64_t from = 0; from < n; from += 64) {
        const uint8_t *p = s->text + from;
        if (n - from < 64) {
            memset(last, 0, 64);
            memcpy(last, p, (uint64_t)(n - from));
            p = last;
        }
        for (uint64_t bits = marks(p, delimiter); bits; bits &= bits - 1) {
            int64_t at = from + __builtin_ctzll(bits);
            if (at >= n) break; /* a NUL delimiter in the padding */
            if (s->text[at] == '\n') {
                if (line(s, start, at)) return;
            } else cell(s, start, at);
            start = at + 1;
        }
    }
}

/* RFC 4180: a cell that begins with a quote ends at the closing one; doubled quotes are undoubled in place. */
static void split_quoted(Split *s, int64_t n, uint8_t delimiter) {
    int64_t i = 0;
    while (i < n) {
        int64_t start = i, end;
        if (s->text[i] == '"') {
            start = ++i;
            end = start;
            for (; i < n; i++) {
                if (s->text[i] == '"') {
                    if (i + 1 < n && s->text[i + 1] == '"') i++;
                    else break;
                }
                s->text[end++] = s->text[i];
            }
            i++;
            for (; i < n && s->text[i] != delimiter && s->text[i] != '\n'; i++)
                if (s->text[i] != '\r') s->text[end++] = s->text[i];
            if (i >= n) return;
            if (s->text[i] == '\n') {
                int64_t row = s->row;
                cell(s, start, end);
                if (s->column != s->columns) {
                    s->found = s->column;
                    return;
                }
                s->column = 0;
                s->row = row + 1;
                if (s->row == s->limit) return;
            } else cell(s, start, end);
        } else {
            while (i < n && s->text[i] != delimiter && s->text[i] != '\n') i++;
            if (i >= n) return;
            if (s->text[i] == '\n') {
                if (line(s, start, i)) return;
            } else cell(s, start, i);
        }
        i++;
    }
}

/* Split complete rows; column p of a kind begins at p * limit. report: rows, odd numbers, cells found in the row that is ragged (0 if none). */
EXPORT void enc_split(uint8_t *text, int64_t n, uint8_t delimiter, int64_t columns, const int32_t *kinds,
                      const int32_t *places, int64_t limit, double *numbers, int64_t *starts, int32_t *lens,
                      int64_t *odd, int64_t *report) {
    Split s = {text, kinds, places, columns, limit, numbers, starts, lens, odd, 0, 0, 0, 0};
    if (memchr(text, '"', (uint64_t)n)) split_quoted(&s, n, delimiter);
    else split_plain(&s, n, delimiter);
    report[0] = s.row;
    report[1] = s.odd_n;
    report[2] = s.found;
}

/* Split each cell at `separator` into at most `length` values, the first ones or (newest) the last ones.
 * Values lie at the front or, at_end, at the end of their `length` places; other places get length -1.
 * An empty cell has no values. skip_empty: empty values do not count. counts[i]: values in the cell before the cut. */
EXPORT void enc_lists(const uint8_t *text, const int64_t *starts, const int32_t *lens, int64_t n, int64_t stride,
                      const uint8_t *separator, int64_t separator_n, int64_t length, int32_t reversed, int32_t history,
                      int64_t *out_starts, int32_t *out_lens, int32_t *counts) {
    for (int64_t i = 0; i < n; i++) {
        int64_t *os = out_starts + i * length;
        int32_t *ol = out_lens + i * length;
        for (int64_t k = 0; k < length; k++) os[k] = 0, ol[k] = -1;
        int64_t total = 0, start = starts[i * stride], end = start + lens[i * stride];
        for (int pass = 0; pass < 2; pass++) { /* count, then place */
            int64_t k = 0, at = start;
            while (end > start && at <= end) {
                int64_t stop = at;
                while (stop < end && (end - stop < separator_n || memcmp(text + stop, separator, (uint64_t)separator_n)))
                    stop++;
                if (history || stop > at) {
                    if (pass) {
                        int64_t place = k; /* bags: the first ones, from the front */
                        if (history) place = length - (reversed ? k + 1 : total - k);
                        if (place >= 0 && place < length) os[place] = at, ol[place] = (int32_t)(stop - at);
                    }
                    k++;
                }
                at = stop + (stop < end ? separator_n : 1);
                if (stop >= end) break;
            }
            if (!pass) total = k;
        }
        counts[i] = (int32_t)total;
    }
}
