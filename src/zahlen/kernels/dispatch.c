// Which processor is this?

#include <stddef.h>
#include <string.h>

#include "dispatch.h"

#ifdef ZAHLEN_X86
#include <cpuid.h>
#endif

typedef struct {
    const char *name;
    const Recurrent *recurrent;
    const Engine *engine;
    const Train *train;
} Variant;

// the fastest last
static const Variant variants[] = {
    {"portable", &recurrent_portable, &engine_portable, &train_portable},
#ifdef ZAHLEN_X86
    {"avx2", &recurrent_avx2, &engine_avx2, &train_avx2},
#ifdef ZAHLEN_AVXVNNI
    {"avxvnni", &recurrent_avx2, &engine_avxvnni, &train_avxvnni},
#endif
    {"avx512", &recurrent_avx512, &engine_avx2, &train_avx2},  // without products of bytes wider vectors gain little
    {"vnni", &recurrent_avx512, &engine_vnni, &train_vnni},
    {"icelake", &recurrent_avx512, &engine_icelake, &train_vnni},
#endif
#ifdef ZAHLEN_AARCH64
    {"neon", &recurrent_portable, &engine_neon, &train_neon},
#endif
};

static int runs_here(const char *name) {
#ifdef ZAHLEN_X86
    __builtin_cpu_init();
    const int avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    const int avx512 = avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                       __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
    if (strcmp(name, "avx2") == 0) {
        return avx2;
    }
    if (strcmp(name, "avxvnni") == 0) {
        unsigned a, b, c, d;  // not a name that older compilers know
        return avx2 && __get_cpuid_count(7, 1, &a, &b, &c, &d) && (a >> 4 & 1);
    }
    if (strcmp(name, "avx512") == 0) {
        return avx512;
    }
    if (strcmp(name, "vnni") == 0) {
        return avx512 && __builtin_cpu_supports("avx512vnni");
    }
    if (strcmp(name, "icelake") == 0) {
        return avx512 && __builtin_cpu_supports("avx512vnni") && __builtin_cpu_supports("avx512vpopcntdq");
    }
#endif
#ifdef ZAHLEN_AARCH64
    if (strcmp(name, "neon") == 0) {
        return 1;
    }
#endif
    return strcmp(name, "portable") == 0;
}

const char *variant_name(int k) {
    int found = 0;
    for (size_t v = 0; v < sizeof variants / sizeof *variants; v++) {
        if (runs_here(variants[v].name) && found++ == k) {
            return variants[v].name;
        }
    }
    return NULL;
}

const Recurrent *variant_recurrent(const char *name) {
    for (size_t v = 0; v < sizeof variants / sizeof *variants; v++) {
        if (strcmp(variants[v].name, name) == 0 && runs_here(name)) {
            return variants[v].recurrent;
        }
    }
    return NULL;
}

const Engine *variant_engine(const char *name) {
    for (size_t v = 0; v < sizeof variants / sizeof *variants; v++) {
        if (strcmp(variants[v].name, name) == 0 && runs_here(name)) {
            return variants[v].engine;
        }
    }
    return NULL;
}

const Train *variant_train(const char *name) {
    for (size_t v = 0; v < sizeof variants / sizeof *variants; v++) {
        if (strcmp(variants[v].name, name) == 0 && runs_here(name)) {
            return variants[v].train;
        }
    }
    return NULL;
}
