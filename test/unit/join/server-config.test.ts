import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { checkFamilies, JoinFailure, parseServerConfig } from '../../../src/join/index.ts';

const V4 = { IP: '10.42.0.0', Mask: '//8AAA==' };
const V6 = { IP: 'fd42::', Mask: '/////////wAAAAAAAAAAAA==' };

test('the configuration of a server is read with its masks, lists and ports', () => {
  const config = parseServerConfig({
    ClusterIPRange: V4,
    ClusterIPRanges: [V4, V6],
    ServiceIPRange: { IP: '10.43.0.0', Mask: '//8AAA==' },
    ServiceNodePortRange: { Base: 30000, Size: 2768 },
    ClusterDNS: '10.43.0.10',
    ClusterDNSs: null,
    ClusterDomain: 'cluster.local',
    HTTPSPort: 6443,
    SupervisorPort: 9345,
    FlannelBackend: 'vxlan',
    DisableNPC: true,
    Future: { anything: 1 },
  });
  assert.deepEqual(config.podCidrs, [
    { family: 4, address: '10.42.0.0', prefix: 16 },
    { family: 6, address: 'fd42::', prefix: 56 },
  ]);
  assert.deepEqual(config.serviceCidrs, [{ family: 4, address: '10.43.0.0', prefix: 16 }]);
  assert.deepEqual(config.nodePorts, { base: 30000, size: 2768 });
  assert.deepEqual(config.clusterDns, ['10.43.0.10']);
  assert.deepEqual([config.httpsPort, config.supervisorPort], [6443, 9345]);
  assert.equal(config.disableNpc, true);
});

test('an old or bare server leaves sane defaults', () => {
  const config = parseServerConfig({ SupervisorPort: 6443 });
  assert.deepEqual([config.httpsPort, config.clusterDomain, config.nodePorts], [6443, 'cluster.local', undefined]);
});

test('what can not be used is named; nothing random crashes it', () => {
  assert.throws(
    () => parseServerConfig({ ClusterIPRange: { IP: 'x', Mask: '' } }),
    /ClusterIPRange holds no address block/,
  );
  assert.throws(() => parseServerConfig({ ClusterDNS: 'dns' }), /ClusterDNS/);
  const names = fc.constantFrom(
    'ClusterIPRange',
    'ClusterIPRanges',
    'ClusterDNSs',
    'HTTPSPort',
    'ServiceNodePortRange',
    'CipherSuites',
    'IPSECPSK',
  );
  fc.assert(
    fc.property(fc.oneof(fc.dictionary(names, fc.jsonValue()), fc.jsonValue()), (json) => {
      try {
        parseServerConfig(json);
      } catch (error) {
        assert.ok(error instanceof JoinFailure, String(error));
      }
    }),
  );
});

test('pods, services and node must share IP versions', () => {
  const dual = parseServerConfig({ ClusterIPRanges: [V4, V6], ServiceIPRanges: [V4, V6] });
  checkFamilies(dual, ['10.0.0.1', 'fd00::1']);
  assert.throws(() => checkFamilies(dual, ['10.0.0.1']), /uses IPv6/);
  assert.throws(
    () => checkFamilies(parseServerConfig({ ClusterIPRange: V4, ServiceIPRange: V6 }), ['10.0.0.1']),
    /differ/,
  );
  checkFamilies(parseServerConfig({ ClusterIPRange: V4, ServiceIPRange: V4 }), ['10.0.0.1', 'fd00::1']);
});
