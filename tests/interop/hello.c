/* A command as another toolchain makes it: clang and wasi-libc. */
#include <stdio.h>

int main(void) {
    printf("hello from C\n");
    return 0;
}
