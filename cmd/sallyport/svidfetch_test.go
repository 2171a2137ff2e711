package main

import (
	"context"
	"fmt"

	"github.com/spiffe/go-spiffe/v2/svid/jwtsvid"
	"github.com/spiffe/go-spiffe/v2/workloadapi"
)

// svidfetch prints what the Workload API of its environment says it is.
func svidfetch() {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	x, err := workloadapi.FetchX509SVID(ctx)
	die(err)
	fmt.Println("x509", x.ID)
	const audience = "https://api.example.org"
	j, err := workloadapi.FetchJWTSVID(ctx, jwtsvid.Params{Audience: audience})
	die(err)
	_, err = workloadapi.ValidateJWTSVID(ctx, j.Marshal(), audience)
	die(err)
	fmt.Println("jwt", j.ID, j.Audience[0])
}
