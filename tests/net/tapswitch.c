/* SPDX-License-Identifier: Apache-2.0
 * tapswitch.c - an Ethernet switch in user space, for links with delay, loss and failures
 *
 * usage: tapswitch [-s SEED] NAME...
 *
 * Makes one TAP interface for each NAME in the network namespace that it runs in (net.sh then moves them to the nodes), says
 * "up" on standard output (or "failed"), and carries frames between them. Commands come as lines on standard input, each
 * answered by "ok" or "what"; ports count from 0:
 *   delay PORT MICROSECONDS   every frame to or from the port is late by so much
 *   loss PORT PPM             so many of a million frames to or from it are lost, by a generator that SEED starts
 *   link PORT up|down         nothing goes through while it is down
 * It ends at the end of its input. Kernels without the netem queueing discipline are why it is there. A frame costs two system
 * calls, so it is nothing to measure speed with.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#define PORTS_MAX 16
#define QUEUE_LEN 2048 /* frames on their way to a port; more are dropped, as a switch does */
#define FRAME_MAX 2048
#define MAC_BYTES 6
#define BURST     32 /* frames taken from a port before the others have their turn */

struct frame {
    int64_t due_ns;
    size_t bytes;
    uint8_t data[FRAME_MAX];
};

struct port {
    int fd;
    bool down, known;
    uint8_t mac[MAC_BYTES]; /* of the interface behind it, once it has sent */
    int64_t delay_ns;
    uint32_t loss_ppm;
    struct frame *queue; /* [QUEUE_LEN] to this port, in order of arrival */
    unsigned head, tail;
};

static struct port ports[PORTS_MAX];
static int n_ports;
static uint64_t dice = 1;

static int64_t now_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

/* Source of the constants: Steele, Lea and Flood, "Fast splittable pseudorandom number generators" (2014). */
static bool lost(const struct port *port)
{
    uint64_t z = dice += 0x9e3779b97f4a7c15u;

    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return (z ^ z >> 31) % 1000000 < port->loss_ppm;
}

static void die(const char *what)
{
    fprintf(stderr, "tapswitch: %s: %s\n", what, strerror(errno));
    puts("failed");
    exit(1);
}

static void open_port(const char *name)
{
    struct ifreq request = {.ifr_flags = IFF_TAP | IFF_NO_PI};
    struct port *port = &ports[n_ports++];

    if (strlen(name) >= sizeof request.ifr_name) {
        errno = ENAMETOOLONG;
        die(name);
    }
    strcpy(request.ifr_name, name);
    port->fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
    if (port->fd < 0)
        die("/dev/net/tun");
    if (ioctl(port->fd, TUNSETIFF, &request) < 0)
        die(name);
    port->queue = calloc(QUEUE_LEN, sizeof *port->queue);
    if (!port->queue)
        die("memory");
}

static void send_on(struct port *from, struct port *to, const uint8_t *data, size_t bytes, int64_t now)
{
    if (from->down || to->down || to->tail - to->head == QUEUE_LEN || lost(from) || lost(to))
        return;
    struct frame *frame = &to->queue[to->tail++ % QUEUE_LEN];
    frame->due_ns = now + from->delay_ns + to->delay_ns;
    frame->bytes = bytes;
    memcpy(frame->data, data, bytes);
}

/* A frame begins with the MAC address it goes to and the one it comes from. To where nobody has spoken yet, and to all, it goes
 * to all. */
static bool receive(struct port *from, int64_t now)
{
    uint8_t data[FRAME_MAX];
    ssize_t n = read(from->fd, data, sizeof data);
    struct port *to = NULL;

    if (n < 2 * MAC_BYTES)
        return false;
    memcpy(from->mac, data + MAC_BYTES, MAC_BYTES);
    from->known = true;
    for (int i = 0; i < n_ports; i++)
        if (ports[i].known && !memcmp(ports[i].mac, data, MAC_BYTES))
            to = &ports[i];
    for (int i = 0; i < n_ports; i++)
        if (&ports[i] != from && (!to || to == &ports[i]))
            send_on(from, &ports[i], data, (size_t)n, now);
    return true;
}

/* Hand over what is due; return when the next frame is. */
static int64_t deliver(int64_t now)
{
    int64_t next_ns = now + 1000000000;

    for (int i = 0; i < n_ports; i++) {
        struct port *port = &ports[i];
        for (; port->head != port->tail && port->queue[port->head % QUEUE_LEN].due_ns <= now; port->head++) {
            const struct frame *frame = &port->queue[port->head % QUEUE_LEN];
            /* An interface that is down or full takes nothing: lost, like on a wire. */
            if (write(port->fd, frame->data, frame->bytes) < 0)
                continue;
        }
        if (port->head != port->tail && port->queue[port->head % QUEUE_LEN].due_ns < next_ns)
            next_ns = port->queue[port->head % QUEUE_LEN].due_ns;
    }
    return next_ns;
}

static bool obey(const char *line)
{
    char word[16], state[16];
    int p;
    long n;

    if (sscanf(line, "%15s %d %15s", word, &p, state) != 3 || p < 0 || p >= n_ports)
        return false;
    if (!strcmp(word, "link") && (!strcmp(state, "up") || !strcmp(state, "down"))) {
        ports[p].down = !strcmp(state, "down");
        return true;
    }
    if (sscanf(state, "%ld", &n) != 1 || n < 0 || n > 10000000)
        return false;
    if (!strcmp(word, "delay"))
        ports[p].delay_ns = n * 1000;
    else if (!strcmp(word, "loss"))
        ports[p].loss_ppm = (uint32_t)n;
    else
        return false;
    return true;
}

/* Lines may come in pieces. False at the end of input. */
static bool read_commands(void)
{
    static char text[4096];
    static size_t len;
    ssize_t n = read(STDIN_FILENO, text + len, sizeof text - len);

    if (n <= 0)
        return n < 0 && errno == EINTR;
    len += (size_t)n;
    for (char *end; (end = memchr(text, '\n', len)) != NULL;) {
        *end = 0;
        puts(obey(text) ? "ok" : "what");
        len -= (size_t)(end + 1 - text);
        memmove(text, end + 1, len);
    }
    fflush(stdout);
    return len < sizeof text;
}

static void carry(void)
{
    struct pollfd fds[PORTS_MAX + 1];

    for (;;) {
        int64_t now = now_ns(), wait_ns = deliver(now) - now;
        struct timespec wait = {.tv_sec = wait_ns / 1000000000, .tv_nsec = wait_ns % 1000000000};
        for (int i = 0; i <= n_ports; i++)
            fds[i] = (struct pollfd){.fd = i < n_ports ? ports[i].fd : STDIN_FILENO, .events = POLLIN};
        if (ppoll(fds, (nfds_t)n_ports + 1, &wait, NULL) <= 0)
            continue;
        if (fds[n_ports].revents && !read_commands())
            return;
        now = now_ns();
        for (int i = 0; i < n_ports; i++)
            for (int n = 0; n < BURST && fds[i].revents & POLLIN && receive(&ports[i], now); n++)
                ;
    }
}

int main(int argc, char **argv)
{
    for (int option; (option = getopt(argc, argv, "s:")) != -1;) {
        if (option != 's')
            return 64;
        dice = strtoull(optarg, NULL, 10);
    }
    if (optind == argc || argc - optind > PORTS_MAX) {
        fprintf(stderr, "usage: tapswitch [-s SEED] NAME...   (at most %d)\n", PORTS_MAX);
        return 64;
    }
    for (int i = optind; i < argc; i++)
        open_port(argv[i]);
    puts("up");
    fflush(stdout);
    carry();
    return 0;
}
