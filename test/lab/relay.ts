import { rmSync } from 'node:fs';
import { connect, createServer } from 'node:net';

/**
 * A door into a network namespace: run inside it as `node relay.ts SOCKET HOST PORT`, it passes connections to a unix
 * socket on to HOST:PORT. Unix sockets are found by path from every namespace.
 */
const [socketPath = '', host = '', port = ''] = process.argv.slice(2);
rmSync(socketPath, { force: true });
createServer((client) => {
  const server = connect(Number(port), host);
  const close = () => {
    client.destroy();
    server.destroy();
  };
  for (const socket of [client, server]) {
    socket.on('error', close);
    socket.on('close', close);
  }
  client.pipe(server).pipe(client);
}).listen(socketPath, () => process.stdout.write('ready\n'));
