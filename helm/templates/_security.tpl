{{/* Who may do what at the node, who it is, and who calls: flags, and the files that they name. What is mounted is always a
whole folder: the kubelet does not replace what is mounted by the name of a file. */}}

{{- define "route.scheme" -}}
{{- ternary "https" "http" .Values.security.tls.enabled -}}
{{- end }}

{{/* What proxies and meshes should take the gRPC ports for. */}}
{{- define "route.grpcProtocol" -}}
{{- ternary "https" "kubernetes.io/h2c" .Values.security.tls.enabled -}}
{{- end }}

{{- define "route.nodeSecret" -}}
{{- .Values.security.tls.node.existingSecret | default (printf "%s-route-grpc-tls" (include "route.fullname" .)) -}}
{{- end }}

{{- define "route.gatewaySecret" -}}
{{- .Values.security.tls.gateway.existingSecret | default (printf "%s-pdu-gateway-tls" (include "route.fullname" .)) -}}
{{- end }}

{{- define "route.gatewayUri" -}}
{{- .Values.security.tls.gateway.uri | default (printf "spiffe://cluster.local/ns/%s/sa/%s-pdu-gateway" .Release.Namespace (include "route.fullname" .)) -}}
{{- end }}

{{/* Whether gateways, and the check, show a certificate. */}}
{{- define "route.clientHasCertificate" -}}
{{- with .Values.security }}
{{- if and .tls.enabled (not .insecure) (not .tokens.gateways) }}true{{ end }}
{{- end }}
{{- end }}

{{/* security.policy, and what gateways and the check need. Whoever may attach as a gateway can see and send all that the
check does. */}}
{{- define "route.policy" -}}
{{- .Values.security.policy | default "version = 1" | trimSuffix "\n" }}
{{- if .Values.security.tls.enabled }}

# The gateways of this release, and helm test.
[[allow]]
{{- if .Values.security.tokens.gateways }}
subject = "system:serviceaccount:{{ .Release.Namespace }}:{{ include "route.serviceAccount" . }}"
{{- else }}
uri = {{ include "route.gatewayUri" . | quote }}
{{- end }}
{{- if eq .Values.mode "separate" }}
roles = ["gateway", "listener", "publisher"]
gateway_ids = ["{{ include "route.fullname" . }}-pdu-gateway-*"]
{{- else }}
roles = ["listener", "publisher"]
{{- end }}
subscribe = ["p2p_command"]
publish = ["p2p_command"]
{{- if include "route.hasEngine" . }}

# The nodes, which pass calls on for their callers.
[[allow]]
uri = {{ include "route.nodeUri" . | quote }}
roles = ["node"]
{{- end }}
{{- end }}
{{- end }}

{{/* The key of the policy in its ConfigMap or Secret. */}}
{{- define "route.policyKey" -}}
{{- ternary .Values.security.existingPolicy.key "policy.toml" (ne .Values.security.existingPolicy.name "") -}}
{{- end }}

{{/* Of the node, or the embedded server. */}}
{{- define "route.securityFlags" -}}
{{- $security := .Values.security }}
{{- if $security.insecure }}
- --insecure
{{- else }}
- --policy=/etc/teamtalk-route/policy/{{ include "route.policyKey" . }}
{{- end }}
{{- if $security.tls.enabled }}
- --tls-cert=/etc/teamtalk-route/tls/tls.crt
- --tls-key=/etc/teamtalk-route/tls/tls.key
{{- if not $security.insecure }}
- --tls-client-ca=/etc/teamtalk-route/ca/{{ $security.tls.bundle.name | empty | ternary "ca.crt" $security.tls.bundle.key }}
{{- end }}
{{- end }}
{{- with $security.tokens }}
{{- if .keys.name }}
- --token-keys=/etc/teamtalk-route/token-keys/{{ .keys.key }}
- {{ printf "--token-audience=%s" .audience | quote }}
{{- range .issuers }}
- {{ printf "--token-issuer=%s" . | quote }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}

{{- define "route.securityMounts" -}}
{{- $security := .Values.security }}
{{- if not $security.insecure }}
{{- include "route.mount" "policy" }}
{{- end }}
{{- if $security.tls.enabled }}
{{- include "route.mount" "tls" }}
{{- if or (not $security.insecure) (include "route.hasEngine" .) }}
{{- include "route.mount" "ca" }}
{{- end }}
{{- end }}
{{- if $security.tokens.keys.name }}
{{- include "route.mount" "token-keys" }}
{{- end }}
{{- end }}

{{- define "route.securityVolumes" -}}
{{- $security := .Values.security }}
{{- if not $security.insecure }}
{{- $own := dict "kind" "ConfigMap" "name" (printf "%s-policy" (include "route.fullname" .)) }}
{{- include "route.volume" (dict "name" "policy" "of" (ternary $security.existingPolicy $own (ne $security.existingPolicy.name ""))) }}
{{- end }}
{{- if $security.tls.enabled }}
{{- include "route.volume" (dict "name" "tls" "of" (dict "kind" "Secret" "name" (include "route.nodeSecret" .))) }}
{{- if or (not $security.insecure) (include "route.hasEngine" .) }}
{{- include "route.caVolume" (dict "root" . "secret" (include "route.nodeSecret" .)) }}
{{- end }}
{{- end }}
{{- if $security.tokens.keys.name }}
{{- include "route.volume" (dict "name" "token-keys" "of" $security.tokens.keys) }}
{{- end }}
{{- end }}

{{/* Of whoever calls the node: (dict "root" . "tls" "upstream" "token" "upstream-token-file"), the names of its flags. */}}
{{- define "route.clientFlags" -}}
{{- $security := .root.Values.security }}
{{- if $security.tls.enabled }}
- --{{ .tls }}-ca=/etc/teamtalk-route/ca/{{ $security.tls.bundle.name | empty | ternary "ca.crt" $security.tls.bundle.key }}
{{- if include "route.clientHasCertificate" .root }}
- --{{ .tls }}-cert=/etc/teamtalk-route/tls/tls.crt
- --{{ .tls }}-key=/etc/teamtalk-route/tls/tls.key
{{- end }}
{{- with $security.tls.node.serverName }}
- --{{ $.tls }}-server-name={{ . }}
{{- end }}
{{- if $security.tokens.gateways }}
- --{{ .token }}=/etc/teamtalk-route/token/token
{{- end }}
{{- end }}
{{- end }}

{{- define "route.clientMounts" -}}
{{- $security := .Values.security }}
{{- if $security.tls.enabled }}
{{- include "route.mount" "ca" }}
{{- if include "route.clientHasCertificate" . }}
{{- include "route.mount" "tls" }}
{{- end }}
{{- if $security.tokens.gateways }}
{{- include "route.mount" "token" }}
{{- end }}
{{- end }}
{{- end }}

{{- define "route.clientVolumes" -}}
{{- $security := .Values.security }}
{{- if $security.tls.enabled }}
{{- $hasCertificate := eq (include "route.clientHasCertificate" .) "true" }}
{{- include "route.caVolume" (dict "root" . "secret" (include (ternary "route.gatewaySecret" "route.nodeSecret" $hasCertificate) .)) }}
{{- if $hasCertificate }}
{{- include "route.volume" (dict "name" "tls" "of" (dict "kind" "Secret" "name" (include "route.gatewaySecret" .))) }}
{{- end }}
{{- if $security.tokens.gateways }}
- name: token
  projected:
    sources:
      - serviceAccountToken:
          path: token
          audience: {{ $security.tokens.audience | quote }}
          expirationSeconds: {{ int $security.tokens.expirationSeconds }}
{{- end }}
{{- end }}
{{- end }}

{{- define "route.mount" }}
- name: {{ . }}
  mountPath: /etc/teamtalk-route/{{ . }}
  readOnly: true
{{- end }}

{{/* (dict "name" "policy" "of" (dict "kind" "Secret" "name" "im")). */}}
{{- define "route.volume" }}
- name: {{ .name }}
  {{- if eq .of.kind "Secret" }}
  secret:
    secretName: {{ .of.name }}
  {{- else }}
  configMap:
    name: {{ .of.name }}
  {{- end }}
{{- end }}

{{/* Whom one trusts: the bundle, or this alone of a secret. */}}
{{- define "route.caVolume" }}
{{- if .root.Values.security.tls.bundle.name }}
{{- include "route.volume" (dict "name" "ca" "of" .root.Values.security.tls.bundle) }}
{{- else }}
- name: ca
  secret:
    secretName: {{ .secret }}
    items:
      - key: ca.crt
        path: ca.crt
{{- end }}
{{- end }}
