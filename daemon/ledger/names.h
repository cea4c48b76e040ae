/* names.h - names of leases, both ways. The caller serialises. */
#pragma once

#include <stdint.h>

struct names;

struct names *names_new(void);
struct names *names_free(struct names *names);
/* 0; LEDGER_NAME_TAKEN; -ENOMEM. */
int names_add(struct names *names, const char *name, uint64_t id);
uint64_t names_find(struct names *names, const char *name); /* 0: none */
const char *names_of(struct names *names, uint64_t id);     /* "": none */
void names_remove(struct names *names, uint64_t id);
