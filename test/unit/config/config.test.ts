import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { type ConfigFiles, helpText, loadConfig, mergeComponentArgs } from '../../../src/config/index.ts';
import { AgentError } from '../../../src/core/index.ts';

const MAIN = '/etc/rancher/k3s/config.yaml';

function inMemory(files: Readonly<Record<string, string>> = {}): ConfigFiles {
  return {
    read: async (path) => files[path],
    list: async (dir) =>
      Object.keys(files)
        .filter((f) => f.startsWith(`${dir}/`))
        .map((f) => f.slice(dir.length + 1)),
    fetch: async (url) => {
      const text = files[url];
      if (text === undefined) throw new AgentError({ code: 'CONFIG_FILE', message: 'not there' });
      return text;
    },
  };
}

const load = (argv: string[], files: Record<string, string> = {}, env: Record<string, string> = {}) =>
  loadConfig({ argv, env, files: inMemory(files) });
const JOIN = ['--server', 'https://s:6443', '--token', 'secret-token'];

async function refusal(argv: string[], files: Record<string, string> = {}, env: Record<string, string> = {}) {
  try {
    await load(argv, files, env);
  } catch (error) {
    assert.ok(error instanceof AgentError, String(error));
    return error;
  }
  return assert.fail('accepted');
}

test('flags win over the config file, which wins over the environment', async () => {
  const env = { K3S_NODE_NAME: 'from-env', K3S_DATA_DIR: '/env' };
  const files = { [MAIN]: 'node-name: from-file\n' };
  assert.equal((await load([...JOIN, '--node-name=from-flag'], files, env)).config.nodeName, 'from-flag');
  const { config } = await load(JOIN, files, env);
  assert.equal(config.nodeName, 'from-file');
  assert.equal(config.dataDir, '/env');
  assert.equal((await load(JOIN)).config.dataDir, '/var/lib/rancher/k3s');
});

test('lists of the config file and of flags add up, file first', async () => {
  const files = { [MAIN]: 'node-label:\n  - a=1\n  - b=2\nnode-ip: "10.0.0.1,fd00::1"\n' };
  const { config } = await load([...JOIN, '--node-label', 'c=3', '-i', '10.0.0.2'], files);
  assert.deepEqual(config.nodeLabels, ['a=1', 'b=2', 'c=3']);
  assert.deepEqual(config.nodeIps, ['10.0.0.1', 'fd00::1', '10.0.0.2']);
});

test('labels and arguments are not split at commas', async () => {
  const { config } = await load([...JOIN, '--kubelet-arg=eviction-hard=a<1%,b<2%']);
  assert.deepEqual(config.kubeletArgs, ['eviction-hard=a<1%,b<2%']);
});

test('drop-in files are read in name order, replace keys, and add to them with a plus', async () => {
  const files = {
    [MAIN]: 'node-name: one\nnode-label: a=1\nkubelet-arg:\n- x=1\n',
    [`${MAIN}.d/20-b.yml`]: 'node-name: three\nnode-label+:\n- c=3\n',
    [`${MAIN}.d/10-a.yaml`]: 'node-name: two\nnode-label+: b=2\nkubelet-arg:\n- y=2\n',
    [`${MAIN}.d/30-ignored.txt`]: 'node-name: four\n',
  };
  const { config } = await load(JOIN, files);
  assert.equal(config.nodeName, 'three');
  assert.deepEqual(config.nodeLabels, ['a=1', 'b=2', 'c=3']);
  assert.deepEqual(config.kubeletArgs, ['y=2']);
});

test('drop-in files alone are enough, and no file at all is fine', async () => {
  const { config } = await load([], { [`${MAIN}.d/a.yaml`]: 'server: https://s\ntoken: abc123\n' });
  assert.equal(config.server, 'https://s');
  assert.equal((await load(JOIN)).config.nodeName, undefined);
});

test('the file is named by K3S_CONFIG_FILE before --config, and may be a URL', async () => {
  const files = { '/a.yaml': 'node-name: a', '/b.yaml': 'node-name: b', 'https://h/c.yaml': 'node-name: c' };
  assert.equal((await load([...JOIN, '--config', '/a.yaml'], files)).config.nodeName, 'a');
  assert.equal((await load([...JOIN, '-c=/a.yaml'], files, { K3S_CONFIG_FILE: '/b.yaml' })).config.nodeName, 'b');
  assert.equal((await load([...JOIN, '--config=https://h/c.yaml'], files)).config.nodeName, 'c');
});

test('YAML is read as version 1.1, the way the original reads it', async () => {
  const files = {
    [MAIN]: 'debug: yes\nselinux: off\nlb-server-port: 0x1933\ntoken: 012345\nnode-label: [a=yes, b=1_0]\n',
  };
  const { config } = await load(['--server=https://s'], files);
  assert.equal(config.debug, true);
  assert.equal(config.selinux, false);
  assert.equal(config.lbServerPort, 6451);
  assert.equal(config.token, '5349', 'an unquoted octal number is one, also on the server');
  assert.deepEqual(config.nodeLabels, ['a=yes', 'b=1_0']);
  assert.equal((await load(['--server=https://s'], { [MAIN]: 'token: 20:30:40' })).config.token, '20:30:40');
  assert.equal((await load(['--server=https://s'], { [MAIN]: 'token: 1e3' })).config.token, '1000');
  assert.equal((await load(['--server=https://s'], { [MAIN]: 'token: 2024-01-02' })).config.token, '2024-01-02');
  assert.equal(
    (await load(['--server=https://s'], { [MAIN]: 'token: 12345678901234567890' })).config.token,
    '12345678901234567890',
  );
});

test('the word agent may be there or not, and Go spellings of flags are known', async () => {
  for (const argv of [
    ['agent', ...JOIN],
    JOIN,
    ['-server=https://s:6443', '-t', 'x12345'],
    ['--debug', 'agent', ...JOIN],
  ])
    assert.equal((await load(argv)).command, 'agent');
  const { config } = await load([...JOIN, '--debug=F', '-v', '0x5', '--with-node-id']);
  assert.deepEqual([config.debug, config.verbosity, config.withNodeId], [false, 5, true]);
});

test('status, version and help need no server', async () => {
  assert.equal((await load(['status', '--json'])).json, true);
  assert.equal((await load(['status'], { [MAIN]: 'data-dir: /d' })).config.dataDir, '/d');
  for (const argv of [['version'], ['--version'], ['-v'], ['agent', '--version']])
    assert.equal((await load(argv)).command, 'version');
  for (const argv of [['--help'], ['agent', '-h'], ['help']]) assert.equal((await load(argv)).command, 'help');
});

test('what is wrong is named with its place and the nearest known name', async () => {
  assert.match((await refusal(['--servr', 'x'])).remedy ?? '', /--server/);
  const key = await refusal(JOIN, { [MAIN]: 'debug: true\nnode_label: a=1\n' });
  assert.match(`${key.message} ${key.remedy}`, /config\.yaml:2.*node_label.*"node-label"/);
  assert.match(
    (await refusal(JOIN, { [MAIN]: 'a: 1\nlb-server-port: high\n'.slice(5) })).message,
    /--lb-server-port "high".*config\.yaml:1.*whole number/,
  );
  assert.match(
    (await refusal([...JOIN, '--node-ip=10.0.0.1,10.0.0.256'])).message,
    /--node-ip.*"10\.0\.0\.256" is not an IPv4/,
  );
  assert.match((await refusal(['--server', '10.0.0.1:6443', '--token=x'])).remedy ?? '', /https:\/\/10\.0\.0\.1:6443/);
  assert.match((await refusal(JOIN, {}, { K3S_LB_SERVER_PORT: '99999' })).message, /K3S_LB_SERVER_PORT.*port/);
  assert.match((await refusal([...JOIN, '--node-taint', 'a=b:Never'])).message, /NoSchedule/);
  assert.match(
    (await refusal([...JOIN, '--node-label', 'node-role.kubernetes.io/worker=true'])).remedy ?? '',
    /kubectl label node/,
  );
  assert.match((await refusal([...JOIN, '--node-name', 'My_Pi'])).remedy ?? '', /my-pi/);
  assert.match((await refusal([...JOIN, '--debug', 'true'])).remedy ?? '', /--debug takes no separate value/);
  assert.match((await refusal(JOIN, { [MAIN]: 'debug: true\n bad: [\n' })).message, /config\.yaml:\d+: not valid YAML/);
  assert.match((await refusal(JOIN, { [MAIN]: 'kubelet-arg:\n  a: b\n' })).remedy ?? '', /list/);
  assert.match((await refusal(['server'])).message, /command of k3s/);
  assert.match((await refusal(['--token=x'])).message, /server to join/);
  assert.match((await refusal(['--server=https://s'])).message, /token/);
  assert.match((await refusal([...JOIN, '--node-name'])).message, /--node-name is the last argument/);
});

test('a board that has joined before may start without a token', async () => {
  const files = { '/var/lib/rancher/k3s/agent/client-kubelet.crt': 'x' };
  assert.equal((await load(['--server=https://s'], files)).config.token, undefined);
});

test('what this agent can not do is refused if it matters, else said', async () => {
  assert.match(
    (await refusal([...JOIN, '--docker'])).message,
    /--docker \(from --docker\) is not supported: .*container-runtime-endpoint/,
  );
  assert.equal((await refusal([...JOIN, '--vpn-auth=name=x,joinKey=k'])).code, 'CONFIG_UNSUPPORTED');
  assert.equal((await load([...JOIN, '--docker=false'])).warnings.length, 0);
  assert.match((await load([...JOIN, '--enable-pprof'])).warnings.join(), /pprof/);
  const old = await load(['--server=https://s', '--cluster-secret', 'abcdef']);
  assert.equal(old.config.token, 'abcdef');
});

test('the annotations of the Node are those of the original, secrets masked', async () => {
  const argv = [
    'agent',
    '--server',
    'https://10.99.0.1:6443',
    '--token',
    'labtoken',
    '--node-name',
    'n1',
    '--kubelet-arg',
    'fail-cgroupv1=false',
  ];
  const it = await load(argv);
  assert.equal(
    it.nodeArgs,
    '["agent","--server","https://10.99.0.1:6443","--token","********","--node-name","n1","--kubelet-arg","fail-cgroupv1=false"]',
  );
  assert.equal(it.nodeEnv, '{}');
  // As an original agent 1.36 with these arguments wrote it.
  assert.equal(it.nodeConfigHash, 'QYMKWVJMMM3KBISL2WF6LZTMBZMJPO4HZEBOYSO542IJAAPPMX2A====');
  const other = await load(
    ['--node-label=a=<b>'.replace('<b>', 'b')],
    { [MAIN]: 'token: geheim\ndebug: true\n' },
    { K3S_URL: 'https://s?a&b', K3S_TOKEN: 'geheim', HOME: '/root' },
  );
  assert.equal(other.nodeArgs, '["agent","--token","********","--debug","true","--node-label","a=b"]');
  assert.equal(other.nodeEnv, '{"K3S_TOKEN":"********","K3S_URL":"https://s?a\\u0026b"}');
});

test('component arguments replace, stack, append and prepend', () => {
  const merged = mergeComponentArgs({ a: '1', b: '2', c: '3', d: '4' }, [
    'a=x',
    '--a=y',
    'b+=z',
    'c-=w',
    'flag',
    'e=v=w',
  ]);
  assert.deepEqual(
    [...merged],
    [
      ['a', ['x', 'y']],
      ['b', ['2', 'z']],
      ['c', ['w', '3']],
      ['d', ['4']],
      ['e', ['v=w']],
      ['flag', ['true']],
    ],
  );
});

test('the help text names every visible flag and fits a terminal', () => {
  const help = helpText();
  for (const name of ['--server', '--token', '--node-label', '--bind-address', '--prefer-bundled-bin'])
    assert.ok(help.includes(name));
  assert.ok(!help.includes('--airgap-extra-registry'));
  assert.ok(help.split('\n').every((line) => line.length <= 120));
});

/** A new one for each run: a secret that was seen before is masked in any case. */
let runs = 0;
const nextSecret = () => `Sup3rSecret${runs++}x`;

async function staysQuiet(secret: string, argv: string[], files: Record<string, string>) {
  try {
    await load(argv, files);
  } catch (error) {
    assert.ok(error instanceof AgentError, `${(error as Error).stack} for ${JSON.stringify([argv, files])}`);
    assert.ok(
      !`${error.message}${error.remedy}`.includes(secret),
      `${error.message} for ${JSON.stringify([argv, files])}`,
    );
  }
}

const word = fc.oneof(
  fc.constantFrom(
    '--server=https://s:6443',
    '--token=SECRET',
    '--tokne=SECRET',
    'SECRET',
    '-tokne=SECRET',
    '-t',
    '-t=SECRET',
  ),
  fc.constantFrom('--debug', 'agent', '--', '-', '--node-label=a=b', '--node-ip=1.2.3.4', '--vpn-auth=SECRET'),
  fc.string({ maxLength: 12 }),
);

test('no arguments crash it, and no error shows the token', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(word, { maxLength: 8 }), async (words) => {
      const secret = nextSecret();
      await staysQuiet(
        secret,
        words.map((w) => w.replace('SECRET', secret)),
        {},
      );
    }),
    { numRuns: 2000 },
  );
});

const line = fc.oneof(
  fc.constantFrom(
    'token: SECRET',
    'token: [SECRET',
    'tokem: SECRET',
    'token: {a: SECRET}',
    'SECRET',
    '- SECRET',
    'token: *SECRET',
  ),
  fc.constantFrom(
    'server: https://u:SECRET@h',
    'node-label+:',
    '- a=b',
    'debug: yes',
    '<<: *x',
    'a: &x {debug: true}',
    '"SECRET',
  ),
  fc.constantFrom('---', '? [a]', '%YAML 9', '!!binary x: 1', 'debug: &a [*a, *a]', '\ttoken: SECRET'),
  fc.string({ maxLength: 20 }),
);

test('no config file crashes it, and no error shows the token', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(line, { maxLength: 6 }), async (lines) => {
      const secret = nextSecret();
      await staysQuiet(secret, ['--server=https://s:6443'], { [MAIN]: lines.join('\n').replaceAll('SECRET', secret) });
    }),
    { numRuns: 2000 },
  );
});
