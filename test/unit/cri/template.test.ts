import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { renderTemplate } from '../../../src/cri/containerd/template.ts';

const render = (text: string) =>
  renderTemplate({
    path: '/etc/config.toml.tmpl',
    text,
    base: 'version = 2\n\n[grpc]\n  address = "/s"\n',
    values: { SystemdCgroup: true, 'NodeConfig.Containerd.Root': '/var/lib/x' },
  });

describe("a user's containerd template", () => {
  it('takes the base and adds to it', () => {
    const text = '{{ template "base" . }}\n\n[plugins.x]\n  a = 1\n';
    assert.equal(render(text), 'version = 2\n\n[grpc]\n  address = "/s"\n\n[plugins.x]\n  a = 1\n');
    assert.equal(render('{{- template "base" . -}}\n[x]\n'), 'version = 2\n\n[grpc]\n  address = "/s"\n\n[x]\n');
  });

  it('may be plain TOML', () => {
    assert.equal(render('version = 2\na = "}}"\n'), 'version = 2\na = "}}"\n');
  });

  it('knows comments and single values', () => {
    assert.equal(render('{{/* }} a note " */}}a = {{ .SystemdCgroup }}'), 'a = true\n');
    assert.equal(render('a = {{ printf "%q" .NodeConfig.Containerd.Root }}'), 'a = "/var/lib/x"\n');
    assert.equal(render('a = {{ .NodeConfig.Containerd.Root | printf "%q" }}'), 'a = "/var/lib/x"\n');
    assert.equal(render('a = "{{ deschemify .NodeConfig.Containerd.Root }}"'), 'a = "/var/lib/x"\n');
  });

  it('names file, line and what is supported for anything else', () => {
    for (const action of [
      '{{ if .SystemdCgroup }}',
      '{{ range .X }}',
      '{{ .Nope }}',
      '{{ template "other" . }}',
      '{{ $x }}',
    ])
      assert.throws(
        () => render(`a = 1\nb = 2\n${action}\n`),
        (error: Error & { code: string; remedy: string }) => {
          assert.equal(error.code, 'TEMPLATE_UNSUPPORTED');
          assert.match(error.message, /^\/etc\/config\.toml\.tmpl, line 3: /);
          assert.match(error.remedy, /template "base"/);
          return true;
        },
      );
    assert.throws(() => render('{{ template "base" .'), { code: 'TEMPLATE_UNSUPPORTED' });
  });
});
