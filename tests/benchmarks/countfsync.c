/* Preloaded into a program: writes one byte to the file named by COUNT_FSYNC for each sync it asks for. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

static void note(void)
{
    const char *name = getenv("COUNT_FSYNC");
    int fd = name ? open(name, O_WRONLY | O_CREAT | O_APPEND, 0600) : -1;
    if (fd >= 0) {
        ssize_t written = write(fd, "f", 1);
        (void)written;
        close(fd);
    }
}

int fsync(int fd)
{
    int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, "fsync");
    note();
    return real(fd);
}

int fdatasync(int fd)
{
    int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, "fdatasync");
    note();
    return real(fd);
}
