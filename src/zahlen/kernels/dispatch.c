// Which processor is this?

#include <stddef.h>
#include <string.h>

#include "dispatch.h"

typedef struct {
    const char *name;
    const Recurrent *recurrent;
} Variant;

// the fastest last
static const Variant variants[] = {
    {"portable", &recurrent_portable},
#ifdef ZAHLEN_X86
    {"avx2", &recurrent_avx2},
    {"avx512", &recurrent_avx512},
#endif
};

static int runs_here(const char *name) {
#ifdef ZAHLEN_X86
    __builtin_cpu_init();
    if (strcmp(name, "avx512") == 0) {
        return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
               __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
    }
    if (strcmp(name, "avx2") == 0) {
        return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
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
