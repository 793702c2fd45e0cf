/** One end of a tunnel as its own process, so that it can live in a network namespace; talks JSON lines on stdout. */
import { createServer } from 'node:net';
import { silentLogger, systemClock } from '../../../src/core/index.ts';
import { borrowAddress, hostExec } from '../../../src/host/index.ts';
import { TunnelManager } from '../../../src/tunnel/index.ts';
import type { TestPki } from './pki.ts';
import { startTunnelServer } from './server.ts';

interface PeerInput {
  role: 'server' | 'agent';
  pki: TestPki;
  host: string;
  port: number;
  pingWaitMs?: number;
}

const input = JSON.parse(process.env.PEER_INPUT ?? '{}') as PeerInput;
const say = (event: object) => process.stdout.write(`${JSON.stringify({ ...event, at: Date.now() })}\n`);

if (input.role === 'server') {
  const { host, port, pingWaitMs = 60_000 } = input;
  const { dialer } = await startTunnelServer(input.pki, { host, port }, { pingWaitMs });
  dialer.onChange((node, connected) => say({ event: 'session', node, connected }));
  say({ event: 'ready' });
  // Each line on stdin asks for one echo through the tunnel.
  process.stdin.on('data', () => {
    const timeout = setTimeout(() => say({ event: 'echo', ok: false, sessions: dialer.sessions('n1') }), 3_000);
    try {
      const stream = dialer.dial('n1', 'tcp', '127.0.0.1:10250');
      stream.on('error', () => {});
      stream.once('data', () => {
        clearTimeout(timeout);
        say({ event: 'echo', ok: true, sessions: dialer.sessions('n1') });
        stream.destroy();
      });
      stream.write('hello');
    } catch {
      clearTimeout(timeout);
      say({ event: 'echo', ok: false, sessions: 0 });
    }
  });
} else {
  const kubelet = createServer((socket) => {
    socket.on('error', () => {});
    socket.pipe(socket);
  });
  kubelet.listen(10250, '127.0.0.1');
  const manager = new TunnelManager({
    firstServer: `${input.host}:${input.port}`,
    credentials: () => ({ ca: input.pki.serverCa, ...input.pki.node }),
    facts: () => ({ mode: 'agent', kubeletPort: 10250, nodeIps: [], clusterCidrs: [], pods: [] }),
    kubeletAddress: () => '0.0.0.0',
    onHealth: (server, ok, reason) => say({ event: 'health', server, ok, reason }),
    onServers: () => {},
    borrowAddress: (address) => borrowAddress(hostExec, address),
    clock: systemClock,
    log: silentLogger,
  });
  await manager.start(new AbortController().signal);
  process.stdin.on('data', () => manager.wake());
}
