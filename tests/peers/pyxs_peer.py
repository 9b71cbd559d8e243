"""pyxs as a contender. src/child.rs describes the protocol, and src/work.rs the work."""

import os
import sys
import threading
import time

import pyxs

KEYS = [b"/peers/keys/%d" % at for at in range(100)]
VALUES = [b"value of usual length %d" % at for at in range(100)]
THREADS = 8
FLOOD_ROOT = b"/peers/flood"


def print_line(line):
    print(line, flush=True)


def read_serially(client, count, tally):
    correct = wrong = lost = 0
    for at in range(count):
        try:
            value = client.read(KEYS[at % 100])
        except pyxs.PyXSError:
            lost += 1
        else:
            if value == VALUES[at % 100]:
                correct += 1
            else:
                wrong += 1
    tally.append((correct, wrong, lost))


def read(client):
    def run(count, round):
        tally = []
        read_serially(client, count, tally)
        return tally[0]
    return run


def threads(client):
    def run(count, round):
        tally = []
        workers = [
            threading.Thread(target=read_serially, args=(client, count // THREADS, tally))
            for _ in range(THREADS)
        ]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        return tuple(map(sum, zip(*tally)))
    return run


def flood(client):
    monitor = client.monitor()
    monitor.watch(FLOOD_ROOT, b"peers")
    events = monitor.wait()

    def run(count, round):
        end = FLOOD_ROOT + b"/end-%d" % round
        seen, wrong = set(), 0
        print_line("ready")
        start = last = time.perf_counter_ns()
        for path, _token in events:
            if path == end:
                break
            number = path[len(FLOOD_ROOT) + 1:]
            if not number.isdigit():
                continue
            at = int(number)
            if at >= count or at in seen:
                wrong += 1
                continue
            seen.add(at)
            if len(seen) % 64 == 0 or len(seen) == count:
                last = time.perf_counter_ns()
        return len(seen), wrong, count - len(seen), last - start
    return run


def main():
    work = {"read": read, "threads": threads, "flood": flood}[sys.argv[1]]
    with pyxs.Client(unix_socket_path=os.environ["XENSTORED_PATH"]) as client:
        run = work(client)
        print_line("hello")
        for line in sys.stdin:
            _, count, round = line.split()
            start, cpu = time.perf_counter_ns(), time.process_time_ns()
            correct, wrong, lost, *elapsed = run(int(count), int(round))
            elapsed = elapsed[0] if elapsed else time.perf_counter_ns() - start
            cpu = time.process_time_ns() - cpu
            print_line(f"{correct} {wrong} {lost} 0 {elapsed} {cpu}")
        # A normal exit would wait for the thread of pyxs, which may be blocked in a read.
        os._exit(0)


main()
