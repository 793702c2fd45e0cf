import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { TarEntry } from '../../fakes/tar.ts';
import { dockerArchive } from './docker-archive.ts';
import { pauseBinary } from './pause-binary.ts';

export const BUSYBOX_IMAGE = 'docker.io/library/busybox:latest';
/** The pause images of the servers the tests run against. */
const PAUSE_IMAGES = [
  'docker.io/rancher/mirrored-pause:3.10.2',
  'docker.io/rancher/mirrored-pause:3.6',
  'docker.io/rancher/pause:3.1',
];

const BUSYBOX_PATHS = ['/bin/busybox', '/usr/bin/busybox'];
const APPLETS =
  'ash awk base64 basename cat chmod chown cp cut date dd df dirname echo env expr false find free getopt grep head hostname httpd id ifconfig ip kill killall less ln ls md5sum mkdir mkfifo mknod mktemp more mount mv nc netstat nslookup od ping ping6 printenv printf ps pwd readlink realpath rm rmdir route sed seq sh sha256sum sleep sort stat stty sync tail tar tee test timeout top touch tr true tty umount uname uniq unlink usleep uuidgen vi watch wc wget which whoami xargs yes'.split(
    ' ',
  );

/**
 * Writes the images tests and demo run into `dir` as docker archives, for the agent's images folder: a pause image and
 * a busybox made of this machine's static busybox. No network, no container tools. Throws if there is no busybox.
 */
export function buildImages(dir: string): { busybox: string; pause: string } {
  mkdirSync(dir, { recursive: true });
  const busybox = join(dir, 'busybox.tar');
  const pause = join(dir, 'pause.tar');
  if (!existsSync(pause))
    writeFileSync(
      pause,
      dockerArchive({
        tags: PAUSE_IMAGES,
        files: [{ name: 'pause', mode: 0o755, data: pauseBinary() }],
        entrypoint: ['/pause'],
      }),
    );
  if (!existsSync(busybox))
    writeFileSync(busybox, dockerArchive({ tags: [BUSYBOX_IMAGE], files: busyboxFiles(), command: ['sh'] }));
  return { busybox, pause };
}

function busyboxFiles(): TarEntry[] {
  const path = BUSYBOX_PATHS.find((candidate) => existsSync(candidate));
  if (path === undefined) throw new Error('busybox is not installed: apt-get install busybox-static');
  const program = readFileSync(path);
  // A dynamic one would look for its libraries in the image.
  if (program.includes('/lib/ld-') || program.includes('/lib64/ld-'))
    throw new Error(`${path} is not static: apt-get install busybox-static`);
  return [
    ...['bin/', 'dev/', 'etc/', 'home/', 'proc/', 'root/', 'sys/', 'usr/', 'usr/bin/', 'var/', 'var/log/'].map((p) => ({
      name: p,
    })),
    { name: 'tmp/', mode: 0o1777 },
    { name: 'bin/busybox', mode: 0o755, data: program },
    ...APPLETS.map((applet) => ({ name: `bin/${applet}`, mode: 0o777, link: 'busybox' })),
    {
      name: 'etc/passwd',
      data: Buffer.from('root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/home:/bin/false\n'),
    },
    { name: 'etc/group', data: Buffer.from('root:x:0:\nnogroup:x:65534:\n') },
  ];
}
