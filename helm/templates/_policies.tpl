{{/* Parts of the NetworkPolicies. */}}

{{- define "route.grpcIngress" -}}
- ports:
    - port: 50051
      protocol: TCP
  from:
    - podSelector:
        matchLabels:
          route.teamtalk/grpc-client: "true"
    {{- if include "route.hasEngine" . }}
    # Other nodes, which pass calls on.
    - podSelector:
        matchLabels:
          {{- include "route.selector" (list . "route-grpc") | nindent 10 }}
    {{- end }}
    {{- with .Values.networkPolicy.grpcFrom }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
{{- end }}

{{/* Gateways of this release, and of others in the namespace (mode gateways). The kubelet needs no rule for its probes. */}}
{{- define "route.attachIngress" -}}
- ports:
    - port: 50052
      protocol: TCP
  from:
    - podSelector:
        matchLabels:
          app.kubernetes.io/name: {{ include "route.name" . }}
          app.kubernetes.io/component: pdu-gateway
    {{- with .Values.networkPolicy.attachFrom }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
{{- end }}

{{- define "route.metricsIngress" -}}
{{- with .Values.networkPolicy.metricsFrom }}
- ports:
    - port: 9464
      protocol: TCP
  from:
    {{- toYaml . | nindent 4 }}
{{- end }}
{{- end }}

{{/* The gateways' allow-list, or the one that they have without being told, as a JSON array. */}}
{{- define "route.allowedRanges" -}}
{{- $private := list "10.0.0.0/8" "172.16.0.0/12" "192.168.0.0/16" "fc00::/7" -}}
{{- $given := index .Values.gateway.flags "allow-cidr" -}}
{{- $given = ternary (list $given) $given (kindIs "string" $given) -}}
{{- default $private $given | toJson -}}
{{- end }}

{{/* Egress to the collector of traces, and to DNS for a pod that needs none otherwise: (dict "root" . "dns" true). */}}
{{- define "route.collectorEgress" -}}
{{- with .root.Values.monitoring.traces.endpoint }}
{{- if $.dns }}
- ports:
    - port: 53
      protocol: UDP
    - port: 53
      protocol: TCP
{{- end }}
# The collector, whose address is not known here.
- ports:
    - port: {{ regexFind "[0-9]+$" (trimSuffix "/" .) }}
      protocol: TCP
{{- end }}
{{- end }}

{{/* The ports of gateway.upstreams, as a JSON array. */}}
{{- define "route.upstreamPorts" -}}
{{- $ports := list -}}
{{- range .Values.gateway.upstreams -}}
{{- $ports = append $ports (regexFind "[0-9]+$" (trimSuffix "/" .) | int) -}}
{{- end -}}
{{- $ports | uniq | toJson -}}
{{- end }}
