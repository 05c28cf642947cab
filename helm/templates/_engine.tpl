{{/* What makes the node one of several: docs/nodes.md. */}}

{{- define "route.hasEngine" -}}
{{- if eq .Values.engine.type "nats" }}true{{ end }}
{{- end }}

{{- define "route.site" -}}
{{- .Values.engine.site | default (printf "%s-%s" .Release.Namespace (include "route.fullname" .)) -}}
{{- end }}

{{/* How nodes know each other: the URI of their certificate. */}}
{{- define "route.nodeUri" -}}
{{- .Values.security.tls.node.uri | default (printf "spiffe://cluster.local/ns/%s/sa/%s-route-grpc" .Release.Namespace (include "route.fullname" .)) -}}
{{- end }}

{{- define "route.engineFlags" -}}
{{- if include "route.hasEngine" . }}
{{- $address := printf "%s://%s" (include "route.scheme" .) .Values.engine.podAddress }}
- --engine=nats
- --site={{ include "route.site" . }}
- --node-id=$(POD_NAME)
- --advertise-api={{ $address }}:50051
- --advertise-attach={{ $address }}:50052
{{- with .Values.engine.nats }}
{{- range .urls }}
- --nats-url={{ . }}
{{- end }}
{{- $login := printf "/etc/teamtalk-route/nats/%s" (.login.key | default .login.kind) }}
{{- if eq .login.kind "creds" }}
- --nats-creds={{ $login }}
{{- else if eq .login.kind "password" }}
- {{ printf "--nats-user=%s" .login.user | quote }}
- --nats-password-file={{ $login }}
{{- else if eq .login.kind "token" }}
- --nats-token-file={{ $login }}
{{- end }}
{{- if .tls.secret }}
- --nats-tls-ca=/etc/teamtalk-route/nats-tls/ca.crt
{{- if .tls.clientCertificate }}
- --nats-tls-cert=/etc/teamtalk-route/nats-tls/tls.crt
- --nats-tls-key=/etc/teamtalk-route/nats-tls/tls.key
{{- end }}
{{- end }}
{{- end }}
{{- with .Values.security.tls }}
{{- if .enabled }}
- --peer-ca=/etc/teamtalk-route/ca/{{ .bundle.name | empty | ternary "ca.crt" .bundle.key }}
- --peer-cert=/etc/teamtalk-route/tls/tls.crt
- --peer-key=/etc/teamtalk-route/tls/tls.key
# Nodes are called by their pods' addresses, which are in no certificate.
- --peer-server-name={{ .node.serverName | default (printf "%s-route-grpc" (include "route.fullname" $)) }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}

{{- define "route.engineMounts" -}}
{{- if include "route.hasEngine" . }}
{{- if ne .Values.engine.nats.login.kind "none" }}
{{- include "route.mount" "nats" }}
{{- end }}
{{- if .Values.engine.nats.tls.secret }}
{{- include "route.mount" "nats-tls" }}
{{- end }}
{{- end }}
{{- end }}

{{- define "route.engineVolumes" -}}
{{- if include "route.hasEngine" . }}
{{- with .Values.engine.nats }}
{{- if ne .login.kind "none" }}
{{- include "route.volume" (dict "name" "nats" "of" (dict "kind" "Secret" "name" .login.secret)) }}
{{- end }}
{{- if .tls.secret }}
{{- include "route.volume" (dict "name" "nats-tls" "of" (dict "kind" "Secret" "name" .tls.secret)) }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}

{{/* The ports of engine.nats.urls, as a JSON array. */}}
{{- define "route.natsPorts" -}}
{{- $ports := list -}}
{{- range .Values.engine.nats.urls -}}
{{- $ports = append $ports (regexFind ":[0-9]+$" . | trimPrefix ":" | default "4222" | int) -}}
{{- end -}}
{{- $ports | uniq | toJson -}}
{{- end }}

{{/* Nodes connect to each other, and to NATS. */}}
{{- define "route.engineEgress" -}}
{{- if include "route.hasEngine" . }}
- to:
    - podSelector:
        matchLabels:
          {{- include "route.selector" (list . "route-grpc") | nindent 10 }}
  ports:
    - port: 50051
      protocol: TCP
- ports:
    {{- range include "route.natsPorts" . | fromJsonArray }}
    - port: {{ int . }}
      protocol: TCP
    {{- end }}
  {{- with .Values.networkPolicy.natsTo }}
  to:
    {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end }}
{{- end }}

{{- define "route.engineRules" -}}
{{- with .Values.engine }}
{{- if eq .type "nats" }}
{{- if ne $.Values.mode "separate" }}
{{- fail (printf "engine.type is %s, but mode is %s: several nodes need mode: separate." .type $.Values.mode) }}
{{- end }}
{{- if not .nats.urls }}
{{- fail "engine.type is nats: say in engine.nats.urls where its servers are." }}
{{- end }}
{{- if gt (len (include "route.site" $)) 64 }}
{{- fail (printf "the site is %s, which is longer than 64 characters: say a name in engine.site." (include "route.site" $)) }}
{{- end }}
{{- if ne (eq .nats.login.kind "none") (empty .nats.login.secret) }}
{{- fail (printf "engine.nats.login.kind is %s, and engine.nats.login.secret is %q: say both, or neither." .nats.login.kind .nats.login.secret) }}
{{- end }}
{{- if ne (eq .nats.login.kind "password") (ne .nats.login.user "") }}
{{- fail (printf "engine.nats.login.kind is %s, and engine.nats.login.user is %q: a password needs a user, and nothing else has one." .nats.login.kind .nats.login.user) }}
{{- end }}
{{- if and .nats.tls.clientCertificate (not .nats.tls.secret) }}
{{- fail "engine.nats.tls.clientCertificate is true: say in engine.nats.tls.secret where it is." }}
{{- end }}
{{- range .nats.urls }}
{{- if and (hasPrefix "tls://" .) (not $.Values.engine.nats.tls.secret) }}
{{- fail (printf "%s needs engine.nats.tls.secret: the image trusts nobody by itself." .) }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}
