import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { build, type Plugin } from 'esbuild';

/**
 * Bundles the agent into one CommonJS file, turns it into a Node single executable application and writes it to
 * dist/k3s-agent-<arch>. The V8 code cache spares most of the parsing at start, but is bound to the architecture and
 * the very Node that made it, so a foreign one is built without.
 */
const root = join(import.meta.dirname, '..');
const dist = join(root, 'dist');
const cache = join(root, '.cache');
const arch = process.argv[2] ?? process.arch;
if (arch !== 'x64' && arch !== 'arm64') throw new Error(`unknown architecture ${arch}: use x64 or arm64`);
const own = arch === process.arch;

/** Of undici only the Agent and its connector are used; its index also sets up fetch, caches and mocks, which cost 6 MB of resident memory. */
const onlyUndiciAgent: Plugin = {
  name: 'only-undici-agent',
  setup({ onResolve, onLoad }) {
    onResolve({ filter: /^undici$/ }, () => ({ path: 'undici', namespace: 'slim' }));
    onLoad({ filter: /.*/, namespace: 'slim' }, () => ({
      contents: `Object.assign(require('undici/lib/dispatcher/dispatcher.js').prototype, require('undici/lib/api'));
        exports.Agent = require('undici/lib/dispatcher/agent.js');
        exports.buildConnector = require('undici/lib/core/connect.js');`,
      resolveDir: root,
    }));
  },
};

mkdirSync(dist, { recursive: true });
const bundle = join(dist, 'k3s-agent.cjs');
await build({
  entryPoints: [join(root, 'src/main.ts')],
  outfile: bundle,
  bundle: true,
  platform: 'node',
  target: 'node24',
  format: 'cjs',
  minify: true,
  keepNames: true,
  legalComments: 'none',
  logLevel: 'error',
  // Optional native speed-ups of ws, and Node's own undici types: not to be bundled.
  plugins: [onlyUndiciAgent],
  external: ['bufferutil', 'utf-8-validate', 'osx-temperature-sensor'],
  define: { 'process.env.K3S_AGENT_VERSION': JSON.stringify(version()), 'import.meta.dirname': '""' },
});

const config = join(dist, 'sea.json');
const blob = join(dist, `sea-${arch}.blob`);
writeFileSync(
  config,
  JSON.stringify({
    main: bundle,
    output: blob,
    disableExperimentalSEAWarning: true,
    useCodeCache: own,
    // Boards have little memory: a small young generation, no helper threads for V8, and the agent says when to collect.
    execArgv: [
      '--max-semi-space-size=2',
      '--optimize-for-size',
      '--single-threaded-gc',
      '--v8-pool-size=1',
      '--expose-gc',
      '--no-warnings',
      '--disable-wasm-trap-handler',
    ],
    execArgvExtension: 'none',
  }),
);
execFileSync(process.execPath, ['--experimental-sea-config', config], { stdio: ['ignore', 'ignore', 'pipe'] });

const target = join(dist, `k3s-agent-${arch}`);
const temporary = `${target}.tmp`;
copyFileSync(nodeFor(arch), temporary);
chmodSync(temporary, 0o755);
const postject = join(root, 'node_modules/postject/dist/cli.js');
execFileSync(
  process.execPath,
  [postject, temporary, 'NODE_SEA_BLOB', blob, '--sentinel-fuse', 'NODE_SEA_FUSE_fce680ab2cc467b6e072b8b5df1996b2'],
  { stdio: ['ignore', 'ignore', 'pipe'] },
);
// A plain copy, not a rename: pages that postject wrote lie in the page cache in large folios, of which each touch maps
// the whole, and the process would show 17 MB more resident memory until the next reboot.
const copied = `${target}.new`;
execFileSync('cp', [temporary, copied]);
renameSync(copied, target);
rmSync(temporary);
for (const path of [config, blob]) rmSync(path);
console.log(target);

function version(): string {
  const { version: own } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { version: string };
  try {
    const commit = execFileSync('git', ['-C', root, 'rev-parse', '--short', 'HEAD'], {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'ignore'],
    });
    return `${own}+${commit.trim()}`;
  } catch {
    return own; // a source archive without git
  }
}

function nodeFor(wanted: string): string {
  if (wanted === process.arch) return process.execPath;
  const want = process.version.slice(1);
  const dir = join(cache, `node-${wanted}-${want}`);
  const binary = join(dir, 'package/bin/node');
  if (existsSync(binary)) return binary;
  mkdirSync(dir, { recursive: true });
  const packed = execFileSync('npm', ['pack', '--silent', '--pack-destination', dir, `node-linux-${wanted}@${want}`], {
    encoding: 'utf8',
  });
  execFileSync('tar', ['-xzf', join(dir, packed.trim()), '-C', dir, 'package/bin/node']);
  rmSync(join(dir, packed.trim()));
  return binary;
}
