// A packed program: a machine's operations over typed rows, as the planner (zahlen.engine) wrote them down.

#ifndef ZAHLEN_PROGRAM_H
#define ZAHLEN_PROGRAM_H

#include <stdint.h>

// ---------------------------------------------------------------------------------------------------------------------
// Slots: where the rows of a wire lie. A row is one sample at one time.

enum { U8, S16, S32, S64, TYPES };
enum { SCRATCH, TIMED, STATE, HOMES };  // of one section, of all sections, kept from step to step

typedef struct {
    int32_t type, home;
    int64_t elements;       // of a row
    int64_t stride;         // bytes from row to row, a multiple of 64
    int64_t offset;         // bytes per row that stand before it in its home, a multiple of 64
    int64_t base, step;     // value = base + step * what is stored
} Slot;

// ---------------------------------------------------------------------------------------------------------------------
// Staircases: how many thresholds are at or below an integer.

enum { LINEAR, BUCKETS };
#define NEAR_BUCKETS 32

typedef struct {
    int32_t form;
    int32_t count;                  // of thresholds
    const int32_t *thresholds;      // ascending, then one or more that nothing reaches; at least 32 if compared
    const int32_t *values;          // count + 1; at least 32 if compared
    int32_t lo, hi, shift;          // buckets: integers below lo reach none, from hi on all
    // per bucket: how many are at or below its first integer. Of 15 thresholds at most that are compared there may be
    // NEAR_BUCKETS, chosen and counted by the two numbers behind them: see `Steps.near` of zahlen.engine
    const int32_t *base;
} Staircase;

// ---------------------------------------------------------------------------------------------------------------------
// Products: rows at positions times a matrix, with what follows at once.

// DOT8_PAIRS: two products fit into 16 bits, if not more of them; DOT1: bits that an input and a weight both have are counted
enum { DOT8, DOT8_PAIRS, DOT16, DOT32, DOT64, DOT1, DOTS };
enum { STORE_SUMS, STORE_CODES, STORE_CODES_PER_CHANNEL };

typedef struct LstmCell LstmCell;

typedef struct {
    int32_t x, out, init;           // slots; init: what is added to the sums, -1: nothing
    int64_t shift;                  // by how much sums go to the left before that
    int32_t dot, epilogue;
    int64_t segments, length;       // of a position's input: runs of elements
    const int32_t *segment;         // where each begins, in elements from the position
    int64_t positions;              // of a row
    const int32_t *from, *to;       // per position, per group: elements from the row's start
    int64_t group;                  // neighbouring positions of which the greatest counts
    int64_t channels;
    const void *weights;            // (channels, segments * length) of int8, int16, int32 or int64, by dot; bits in bytes
    const void *bias;               // (channels) of int32, for DOT64 of int64
    int64_t depth;                  // of DOT8_PAIRS: sums over so many dwords of the input fit into 16 bits
    int64_t scale, ones;            // of DOT1: sum = bias + scale * both + ones * bits of the input
    const int32_t *stairs;          // per channel: (thresholds, channels)
    int64_t thresholds;
    Staircase shared;
    int64_t spacing, offset;        // a count's code: offset + spacing * count; spacing 0: the shared staircase's value
    // packed for this processor
    void *packed;
    int32_t *packed_bias, *packed_stairs, *late_bias;
    int32_t *step;                  // of each dword of a position's input, in bytes from the position
    const LstmCell *cell;           // what alone reads the sums, and is done at once; NULL: none
} Product;

// ---------------------------------------------------------------------------------------------------------------------
// Elementwise work: a short program over strips of integers.

enum {
    LOAD, CONSTANT, FILL,                                     // from a slot, from a row of constants, one integer
    ADD, SUB, MUL, MIN, MAX, NEG, CLAMP, RIGHT, HALF_UP, LEFT, // arithmetic
    STAIRS, STAIRS_PER_CHANNEL, LOOKUP, LOOKUP2,              // tables
    SAVE,                                                     // to a slot
    WORK_KINDS
};

typedef struct {
    int32_t kind, to, a, b;        // registers
    int32_t slot;                  // of LOAD and SAVE
    int64_t p, q, r, b_step, columns;  // numbers, by kind
    const void *table;             // constants, by kind
    int64_t count;                 // of thresholds, or of a table's entries
    Staircase stairs;
} Work;

typedef struct {
    int64_t elements, registers, wide, whole;  // wide: 64 bits; whole: rows are worked on as one
    int64_t works;
    Work *work;
} Elementwise;

// ---------------------------------------------------------------------------------------------------------------------
// Boolean networks: words of one bit of each of 512 rows, and gates on them.

#define GATE_ROWS 512

enum { AND, AND_NOT, OR, XOR, GATE_KINDS };  // AND_NOT: a and not b

typedef struct {
    int32_t to, a, b, kind;  // words
} Gate;

typedef struct {
    int32_t slot, low;       // of bytes; a bit is set if its byte is not `low`
    int64_t first;           // of 64 bytes of a row
    const int32_t *place;    // (64): each byte's word, -1: none
} Taken;

typedef struct {
    int32_t slot;            // of bytes
    int64_t first;           // of 64 bytes of a row
    const int32_t *place;    // (64): each byte's word
    const uint8_t *codes;    // (2, 64): bytes for bits that are not set, and what changes in them if they are
} Given;

typedef struct {
    int64_t words, inputs, outputs, gates;
    Taken *input;
    Given *output;
    const Gate *gate;
} Gates;

// ---------------------------------------------------------------------------------------------------------------------
// What else there is.

typedef struct {
    int32_t x, out;
    int64_t channels, windows, size;          // channels side by side; per window `size` elements
    const int32_t *window;                    // (windows, size): where channel 0 stands, -1: outside
    const int32_t *to;                        // per window, elements from the row's start
    int32_t sum;                              // sum, else the greatest
} Pool;

typedef struct {
    int32_t x, out;
    int64_t count;
    const int32_t *from, *to;                 // element by element; from -1: the code `fill`
    int64_t fill;
} Move;

typedef struct {
    int32_t x, out;
    int64_t positions, length;                // bytes at each position: which are not zero?
    const int32_t *from, *to;                 // to: bits in bytes, filled up to dwords, then an int32: how many are set
} Bits;

typedef struct {
    int32_t x, out;
    int64_t symbols, width, indices;
    const void *table;                        // (symbols, width) of the type of `out`
} Embedding;

typedef struct {
    int32_t x, out;
    int64_t outer, length, inner;             // along the middle
} Along;

// One step of an LSTM between its products: four gates in z, the cell, its successor and the hidden state.
struct LstmCell {
    int32_t z, c, c_next, h_next;
    int32_t alone;                            // nothing else reads z
    int64_t units, gate[4];                   // where i, f, g and o begin in z
    int64_t old_shift, new_shift, right;      // (f c << old) + (i g << new), rounded half up by `right` bits
    int64_t lo, hi;                           // of the cell
    Staircase open, candidate, squash, output;
};

typedef struct {
    int32_t out;
    const uint8_t *rows;                      // one row, as it is stored
    int64_t bytes;
} Constant;

typedef struct {
    int32_t slot, number, state;              // of the program's inputs and outputs, or of its registers
    int64_t lo, hi, step, elements;           // what may come
    int64_t run;                              // so many elements stand side by side
    const int32_t *place;                     // each run's first; NULL: all is one run from the beginning on
} Port;

enum { PORT_IN, PORT_OUT, PRODUCT, ELEMENTWISE, POOL, MOVE, EMBEDDING, ARGMAX, SUM, CONSTANT_ROW, BITS, LSTM_CELL, GATES, OPS };

typedef struct {
    int32_t op;
    union {
        Product product;
        Elementwise elementwise;
        Pool pool;
        Move move;
        Embedding embedding;
        Along along;
        Constant constant;
        Bits bits;
        LstmCell lstm;
        Gates gates;
        Port port;
    };
} Instruction;

enum { START, BEFORE, EACH, AFTER, END, SECTIONS };  // states in, all times at once, step by step, all again, states out

typedef struct {
    int32_t state, next;     // slots of the same type
    const uint8_t *initial;  // a row
    int64_t bytes;
} Register;

typedef struct {
    int64_t *words;
    uint8_t *data;
    Slot *slot;
    int64_t slots;
    Instruction *instruction;
    int64_t instructions, first[SECTIONS + 1];
    Register *registers;
    int64_t register_count, inputs, outputs;
    int64_t row_bytes[HOMES];
    int64_t strips;      // bytes of elementwise registers, or of words of gates
    int64_t operations;  // of a row, roughly
    int64_t rows;        // of a tile
} Program;

// Reads and checks; NULL with `reason` set if it is none.
Program *program_read(const int64_t *words, int64_t count, const uint8_t *data, int64_t bytes, const char **reason);
void program_free(Program *p);

// ---------------------------------------------------------------------------------------------------------------------
// Running.

typedef struct {
    void *at;
    int32_t size;        // bytes of an element: 1, 2, 4 or 8
    int32_t is_signed;
    int64_t batch_stride, time_stride;  // bytes; elements of a row lie side by side
} Array;

typedef struct {
    uint8_t *home[HOMES];
    int64_t rows[HOMES];   // room for so many
    int64_t first;         // row of the TIMED home at which a section works
    const Program *program;
    const Array *inputs, *outputs, *states_in, *states_out;
    int64_t batch, time;   // of the first row in the arrays
    int64_t batches;       // rows of one time
    int turn;              // every other step runs through weights backwards: what was used last is still near
    uint8_t *strips;
} Context;

// The kernels of one kind of processor.
typedef struct {
    const char *name;
    int any_dot8;  // whether DOT8 is at hand where two products need more than 16 bits
    int (*pack)(Product *p);
    void (*product)(const Context *c, const Product *p, int64_t rows);
    void (*elementwise)(const Context *c, const Elementwise *p, int64_t rows);
    int (*port_in)(const Context *c, const Port *p, int64_t rows);
    void (*port_out)(const Context *c, const Port *p, int64_t rows);
    void (*pool)(const Context *c, const Pool *p, int64_t rows);
    void (*move)(const Context *c, const Move *p, int64_t rows);
    void (*bits)(const Context *c, const Bits *p, int64_t rows);
    void (*gates)(const Context *c, const Gates *p, int64_t rows);
    void (*lstm)(const Context *c, const LstmCell *p, int64_t rows);
} Engine;

#define JOIN_(a, b) a##_##b
#define JOIN(a, b) JOIN_(a, b)
#define DECLARE_ENGINE(variant)                                                                                        \
    int pack_##variant(Product *p);                                                                                    \
    void product_##variant(const Context *c, const Product *p, int64_t rows);                                          \
    void elementwise_##variant(const Context *c, const Elementwise *p, int64_t rows);                                  \
    int port_in_##variant(const Context *c, const Port *p, int64_t rows);                                              \
    void port_out_##variant(const Context *c, const Port *p, int64_t rows);                                            \
    void pool_##variant(const Context *c, const Pool *p, int64_t rows);                                                \
    void move_##variant(const Context *c, const Move *p, int64_t rows);                                                \
    void bits_##variant(const Context *c, const Bits *p, int64_t rows);                                                \
    void gates_##variant(const Context *c, const Gates *p, int64_t rows);                                              \
    void lstm_##variant(const Context *c, const LstmCell *p, int64_t rows);                                            \
    extern const Engine engine_##variant;
DECLARE_ENGINE(portable)
DECLARE_ENGINE(avx2)
DECLARE_ENGINE(avxvnni)
DECLARE_ENGINE(vnni)
DECLARE_ENGINE(icelake)
DECLARE_ENGINE(neon)

static inline uint8_t *row_of(const Context *c, const Slot *s, int64_t row) {
    const int64_t first = s->home == TIMED ? c->first : s->home == STATE ? c->batch : 0;
    return c->home[s->home] + c->rows[s->home] * s->offset + (first + row) * s->stride;
}

// What a call works on. States are NULL for the initial ones, or not to be returned.
typedef struct {
    const Array *inputs, *outputs, *states_in, *states_out;
    int64_t batch, times;
    uint8_t *kept;       // the STATE home of a stream that goes on; NULL: none is kept
    int32_t threads;
} Task;

enum { DONE, OUTSIDE, NO_MEMORY };  // a value of an input is outside its alphabet

int program_run(Program *p, const Engine *e, const Task *call);
void program_reset(const Program *p, uint8_t *kept, int64_t batch);

#endif
